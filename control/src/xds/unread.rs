//! A resource that cannot be read as a whole.

/// What is wrong with it, and what is to be in its place.
///
/// To leave it out would be to open what it closes: without a policy everybody is let in, and who is not known to want
/// a tunnel is sent plaintext.
#[derive(Debug)]
pub(crate) struct Unread<T> {
    pub(super) problem: String,
    pub(super) instead: Option<Box<T>>,
}

/// What is wrong with a resource: the first of it is told.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) first: Option<String>,
}

// === impl Faults ===

impl Faults {
    /// What was read; nothing if it is wrong.
    pub(super) fn of<T>(&mut self, read: Result<T, String>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(problem) => {
                self.first.get_or_insert(problem);
                None
            }
        }
    }
}

// === impl Unread ===

impl<T> Unread<T> {
    pub(super) fn map<U>(self, made: impl FnOnce(T) -> U) -> Unread<U> {
        Unread { problem: self.problem, instead: self.instead.map(|instead| Box::new(made(*instead))) }
    }
}

/// Nothing of it can be told.
impl<T> From<String> for Unread<T> {
    fn from(problem: String) -> Self {
        Self { problem, instead: None }
    }
}
