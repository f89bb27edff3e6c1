//! Decisions read off a fuzzer's input.

/// A byte string taken as a sequence of decisions; all of them are 0 once it is used up.
#[derive(Debug)]
pub struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// A number from 1 to about 65,536 in one byte, small ones more often.
    pub fn length(&mut self) -> usize {
        let byte = usize::from(self.byte());
        let magnitude = 1 << (byte >> 4);
        1 + magnitude + (byte & 15) * magnitude / 16
    }

    pub fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    /// A byte string with its length in front.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.rest.len());
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        bytes
    }

    pub fn rest(self) -> &'a [u8] {
        self.rest
    }
}
