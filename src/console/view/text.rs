//! Words.

use super::{Markup, escape};

/// A text with a capital letter first.
#[must_use]
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A text as it is written in code.
#[must_use]
pub fn code(text: &str) -> Markup {
    Markup::new(format!("<code>{}</code>", escape(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_letter_is_a_capital_and_code_is_escaped() {
        assert_eq!([capital("new"), capital("élan"), capital("")], ["New", "Élan", ""]);
        assert_eq!(code("a<b").as_str(), "<code>a&lt;b</code>");
    }
}
