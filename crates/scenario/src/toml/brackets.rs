//! Which bracket has no closing one. The parser says it of the outermost, which stands far from the slip.

use toml_parser::lexer::{Token, TokenKind};

use crate::source::Span;

/// The innermost bracket that lacks its other half where that shows, with what it is: `[` or `{`.
pub(super) fn open(tokens: &[Token], base: usize) -> Option<(Span, char)> {
    let mut open: Vec<&Token> = Vec::new();
    let mut before = TokenKind::Newline;
    let mut is_header = false;
    for token in tokens {
        let kind = token.kind();
        let inner = open.last().map(|token| token.kind());
        match (kind, inner) {
            (TokenKind::Whitespace | TokenKind::Comment, _) => continue,
            (TokenKind::Newline, _) => {
                is_header = false;
                continue;
            }
            _ if is_header => {}
            (TokenKind::LeftSquareBracket, None) if before != TokenKind::Equals => is_header = true,
            // Within a table only a key may come now, within a list only a value.
            (
                TokenKind::LeftCurlyBracket | TokenKind::LeftSquareBracket,
                Some(TokenKind::LeftCurlyBracket),
            ) if before != TokenKind::Equals => {
                break;
            }
            (TokenKind::Equals, Some(TokenKind::LeftSquareBracket)) => break,
            (TokenKind::LeftCurlyBracket | TokenKind::LeftSquareBracket, _) => open.push(token),
            (TokenKind::RightCurlyBracket, Some(TokenKind::LeftCurlyBracket))
            | (TokenKind::RightSquareBracket, Some(TokenKind::LeftSquareBracket)) => {
                open.pop();
            }
            (TokenKind::RightCurlyBracket | TokenKind::RightSquareBracket, Some(_)) => break,
            _ => {}
        }
        before = kind;
    }
    let token = open.last()?;
    let bracket = if token.kind() == TokenKind::LeftCurlyBracket { '{' } else { '[' };
    Some((Span::new(base + token.span().start()..base + token.span().end()), bracket))
}

#[cfg(test)]
mod tests {
    use toml_parser::Source;

    use super::*;

    /// What is open, as the text from there to the end of its line.
    fn found(text: &str) -> Option<&str> {
        let (span, bracket) = open(&Source::new(text).lex().into_vec(), 0)?;
        assert!(text[span.start..].starts_with(bracket));
        text[span.start..].lines().next()
    }

    #[test]
    fn the_bracket_is_found_where_the_slip_is() {
        assert_eq!(found("[a]\n[[b.c]]\nx = [[1], { y = [2] }]\nz = 3\n"), None);
        assert_eq!(found("x = [\n{ a = 1,\n{ a = 2 },\n]\n"), Some("{ a = 1,"));
        assert_eq!(found("x = [\n{ a = 1\n{ a = 2 },\n]\n"), Some("{ a = 1"));
        assert_eq!(found("x = [\n{ a = 1 },\n{ a = 2,\n]\n"), Some("{ a = 2,"));
        assert_eq!(found("x = [\n{ a = [1, 2 },\n]\n"), Some("[1, 2 },"));
        assert_eq!(found("x = [\n{ a = 1 },\n[[test]]\nname = 1\n"), Some("["));
        assert_eq!(found("x = { a = 1,\n[test]\nname = 1\n"), Some("{ a = 1,"));
        assert_eq!(found("x = ["), Some("["));
        assert_eq!(found("x = 1 ]\n"), None, "nothing is open");
    }
}
