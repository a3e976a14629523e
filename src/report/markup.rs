//! Text in XML and HTML: whatever a hostile client or server wrote, it stays text.

use std::fmt::{self, Display, Write};

use crate::report::text::{Charset, escape};

/// Text that is put between tags or into a quoted attribute.
pub(super) struct Text<'a>(pub(super) &'a str);

impl Display for Text<'_> {
    /// What could move, hide or reorder anything is made visible first, as on a terminal. That leaves of what XML does not
    /// allow only the noncharacters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in escape(self.0, Charset::Unicode).chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// Lines of text between tags: as [`Text`], but for the ends of lines.
pub(super) fn lines(text: &str) -> String {
    text.lines().fold(String::new(), |mut lines, line| {
        writeln!(lines, "{}", Text(line)).expect("a String takes everything");
        lines
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_stays_text() {
        assert_eq!(
            Text("<script>alert('1')</script>&\"").to_string(),
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;"
        );
        assert_eq!(
            Text("a\u{0}\u{1b}[31m\u{202e}\n\u{fffe}").to_string(),
            "a\\u{0}\\u{1b}[31m\\u{202e}\\n\u{fffd}"
        );
        assert_eq!(lines("a<\nb"), "a&lt;\nb\n");
    }
}
