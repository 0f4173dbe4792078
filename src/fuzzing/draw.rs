//! Choices made of an input's bytes, so that libFuzzer and the seeded tests steer them alike.

/// What is left of an input. Past its end every choice is the first one.
pub struct Draw<'i>(&'i [u8]);

impl<'i> Draw<'i> {
    pub fn new(input: &'i [u8]) -> Self {
        Self(input)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// A number below `sides`, which are 65,536 at most.
    pub fn below(&mut self, sides: usize) -> usize {
        let number = if sides > 256 {
            usize::from(self.byte()) << 8 | usize::from(self.byte())
        } else {
            usize::from(self.byte())
        };
        number % sides.max(1)
    }

    pub fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }
}

/// An input as text, what is no UTF-8 replaced.
pub fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

/// The text before and after the first line end.
pub fn halves(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}
