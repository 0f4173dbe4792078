//! Words.

use super::{Markup, escape};

/// A text with a capital letter first.
#[must_use]
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A field as people call it; an error of no field is one of the whole request.
#[must_use]
pub const fn field_name(field: &str) -> &str {
    if field.is_empty() { "the whole request" } else { field }
}

/// A text as it is written in code.
#[must_use]
pub fn code(text: &str) -> Markup {
    // `invalid_type(integer)` is better broken before what is in brackets than anywhere.
    Markup::new(format!("<code>{}</code>", escape(text).replace('(', "<wbr>(")))
}

/// A route; long ones take a second line rather than the table's end.
#[must_use]
pub fn route_code(route: &str) -> Markup {
    Markup::new(format!("<code class=\"route\">{}</code>", escape(route)))
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
