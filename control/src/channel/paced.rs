//! A connection that is read with turns for others in between: a large push comes in thousands of pieces, and whoever reads
//! them one after the other asks for no wait.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::turns::Turns;

#[derive(Debug)]
pub(super) struct Paced<C> {
    connection: C,
    /// While there is something to read.
    turns: Option<Turns>,
}

// === impl Paced ===

impl<C> Paced<C> {
    pub(super) fn new(connection: C) -> Self {
        Self { connection, turns: None }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Paced<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut turns = self.turns.take().unwrap_or_else(Turns::begin);
        // Where nothing has come the thread waits by itself: what comes next begins a stretch of its own.
        let read = ready!(Pin::new(&mut self.connection).poll_read(context, buf));
        turns.give();
        self.turns = Some(turns);
        Poll::Ready(read)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Paced<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_pass_both_ways_and_a_stretch_ends_where_nothing_has_come() {
        let (ours, mut theirs) = duplex(64);
        let mut ours = Paced::new(ours);
        ours.write_all(b"asked").await.unwrap();
        let mut asked = [0; 5];
        theirs.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"asked");
        theirs.write_all(b"told").await.unwrap();
        let mut told = [0; 2];
        ours.read_exact(&mut told).await.unwrap();
        assert!(ours.turns.is_some(), "there may be more");
        ours.read_exact(&mut told).await.unwrap();
        assert_eq!(&told, b"ld");
        assert!(pin!(ours.read_u8()).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(ours.turns.is_none(), "the thread is about to wait");
        drop(theirs);
        assert_eq!(ours.read(&mut told).await.unwrap(), 0);
    }
}
