//! One value, handed from the table of a shard to a set-up task of the same shard.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The end that waits. `None` means that the other end went away without a word.
#[derive(Debug)]
pub(crate) struct Promised<T>(Rc<RefCell<State<T>>>);

/// The end that fulfils it.
#[derive(Debug)]
pub(crate) struct Promise<T>(Rc<RefCell<State<T>>>);

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    waker: Option<Waker>,
    over: bool,
}

pub(crate) fn promise<T>() -> (Promise<T>, Promised<T>) {
    let state = Rc::new(RefCell::new(State { value: None, waker: None, over: false }));
    (Promise(Rc::clone(&state)), Promised(state))
}

impl<T> Promise<T> {
    pub(crate) fn fulfil(self, value: T) {
        self.0.borrow_mut().value = Some(value);
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        let mut state = self.0.borrow_mut();
        state.over = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Promised<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.borrow_mut();
        if let Some(value) = state.value.take() {
            return Poll::Ready(Some(value));
        }
        if state.over {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn a_promise_is_kept_or_broken_aloud() {
        let (kept, mut waiting) = promise();
        assert_eq!(block_on(poll_once(&mut waiting)), None);
        kept.fulfil(7);
        assert_eq!(block_on(waiting), Some(7));

        let (broken, waiting) = promise::<u8>();
        drop(broken);
        assert_eq!(block_on(waiting), None);
    }
}
