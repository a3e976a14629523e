//! A text with gaps: `*` for any characters, none included, and `{name}` for one or more.

use std::fmt;

/// One piece of a [`Glob`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// This byte.
    Byte(u8),
    /// Any one byte.
    One,
    /// Any bytes, none included.
    Any,
}

/// A text with gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<Token>);

/// Why a text is no glob.
#[derive(Debug, PartialEq, Eq)]
pub enum InvalidGlob {
    /// A brace without its other half.
    Brace,
    /// `{}`.
    Nameless,
}

impl fmt::Display for InvalidGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Brace => "a brace has no other half",
            Self::Nameless => "a name is missing between the braces",
        })
    }
}

impl Glob {
    /// A glob in which only `*` is special.
    pub fn of_stars(text: &[u8]) -> Self {
        let token = |byte: &u8| if *byte == b'*' { Token::Any } else { Token::Byte(*byte) };
        Self(text.iter().map(token).collect())
    }

    /// A glob in which `{name}` is special, too.
    ///
    /// # Errors
    /// Braces that hold no name, or do not close.
    pub fn of_names(text: &[u8]) -> Result<Self, InvalidGlob> {
        let mut tokens = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((byte, behind)) = rest.split_first() {
            rest = behind;
            match byte {
                b'*' => tokens.push(Token::Any),
                b'{' => {
                    let end = rest.iter().position(|byte| *byte == b'}').ok_or(InvalidGlob::Brace)?;
                    match &rest[..end] {
                        [] => return Err(InvalidGlob::Nameless),
                        name if name.contains(&b'{') => return Err(InvalidGlob::Brace),
                        _ => tokens.extend([Token::One, Token::Any]),
                    }
                    rest = &rest[end + 1..];
                }
                b'}' => return Err(InvalidGlob::Brace),
                byte => tokens.push(Token::Byte(*byte)),
            }
        }
        Ok(Self(tokens))
    }

    /// Whether it has no gaps.
    pub fn is_literal(&self) -> bool {
        self.0.iter().all(|token| matches!(token, Token::Byte(_)))
    }

    /// Whether all of `text` fits. At worst as many steps as the two have bytes, multiplied.
    pub fn fits(&self, text: &[u8]) -> bool {
        let (mut token, mut at) = (0, 0);
        // Where to go on if what follows the last gap proves not to fit: the gap takes one byte more then.
        let mut again: Option<(usize, usize)> = None;
        loop {
            match self.0.get(token) {
                Some(Token::Any) => {
                    token += 1;
                    again = Some((token, at));
                    continue;
                }
                Some(Token::One) if at < text.len() => {
                    (token, at) = (token + 1, at + 1);
                    continue;
                }
                Some(Token::Byte(byte)) if text.get(at) == Some(byte) => {
                    (token, at) = (token + 1, at + 1);
                    continue;
                }
                None if at == text.len() => return true,
                _ => {}
            }
            match &mut again {
                Some((behind, from)) if *from < text.len() => {
                    *from += 1;
                    (token, at) = (*behind, *from);
                }
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("*c", "abc", true),
            ("*c", "abcd", false),
            ("a*c", "ac", true),
            ("a*c", "abcbc", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
            ("**", "abc", true),
            ("*ab*ab", "abab", true),
            ("{id}", "{id}", true),
        ] {
            assert_eq!(
                Glob::of_stars(pattern.as_bytes()).fits(text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn a_name_stands_for_at_least_one_character() {
        for (pattern, text, expected) in [
            ("{id}", "", false),
            ("{id}", "4", true),
            ("{id}", "42", true),
            ("{id}.json", "42.json", true),
            ("{id}.json", ".json", false),
            ("v{major}.{minor}", "v1.2", true),
            ("v{major}.{minor}", "v1.", false),
        ] {
            let glob = Glob::of_names(pattern.as_bytes()).unwrap();
            assert_eq!(glob.fits(text.as_bytes()), expected, "{pattern} {text}");
        }
        for broken in ["{", "}", "{a", "a}", "{a{b}}"] {
            assert_eq!(Glob::of_names(broken.as_bytes()), Err(InvalidGlob::Brace), "{broken}");
        }
        assert_eq!(Glob::of_names(b"{}"), Err(InvalidGlob::Nameless));
    }

    #[test]
    fn many_gaps_take_no_time() {
        let glob = Glob::of_stars("a*".repeat(50).as_bytes());
        assert!(!glob.fits(&[b"a".repeat(5_000).as_slice(), b"b"].concat()[..4_000].repeat(2)[..49]));
        assert!(!Glob::of_stars(b"*a*a*a*a*a*a*a*a*b").fits(&b"a".repeat(10_000)));
    }
}
