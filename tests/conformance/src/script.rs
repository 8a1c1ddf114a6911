//! Small scripts that run on every kind of host: [`script`] is for bodies that are asked of hosts without a shell as well.
//! They read as those of a shell with `-eu` do, and mean the same there. Not here: jobs, pipes, loops, functions, other
//! programs; what needs them is for [`netsplit::sh`].
//!
//! ```text
//! script  = list { (";" | newline) list }           it ends where a list's last command fails
//! list    = command { ("&&" | "||") command }
//! command = ["!"] word… { (">" | ">>" | "<") word | ">&2" }
//! word    = text 'text' "text" \c $NAME $$          a variable is one word, whatever it holds
//! ```

mod commands;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::iter::Peekable;
use std::os::fd::AsFd;
use std::str::Chars;

use netsplit::IntoWords;

/// The exit code of a script that is none.
const NO_SCRIPT: u8 = 2;
/// What a command ends with when there is none of its name.
const UNKNOWN: u8 = 127;

/// A script as a command. On a host its process is called `shell`.
pub fn script(text: impl Into<String>) -> impl IntoWords {
    (shell, [text.into()])
}

/// `shell SCRIPT`: runs it, whatever words follow.
#[netsplit::program]
async fn shell(arguments: Vec<String>) -> u8 {
    run(arguments.first().map_or("", String::as_str))
}

#[expect(clippy::print_stderr, reason = "a program's own output")]
fn run(text: &str) -> u8 {
    match lex(text) {
        Ok(tokens) => Shell::default().run(&tokens),
        Err(trouble) => {
            eprintln!("no script: {trouble}");
            NO_SCRIPT
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(Vec<Piece>),
    Operator(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(String),
}

/// Those that begin as another does come first.
const OPERATORS: [&str; 8] = ["&&", "||", ">&2", ">>", ">", "<", ";", "\n"];
/// What a shell knows and this one does not.
const REFUSED: [char; 4] = ['(', ')', '`', '*'];

fn lex(text: &str) -> Result<Vec<Token>, String> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return Ok(tokens);
        }
        if let Some(operator) = OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
            tokens.push(Token::Operator(operator));
            rest = &rest[operator.len()..];
        } else if rest.starts_with(['|', '&']) {
            return Err("pipes and jobs are for a real shell".to_owned());
        } else {
            let mut chars = rest.chars().peekable();
            tokens.push(Token::Word(word(&mut chars)?));
            let left: usize = chars.map(char::len_utf8).sum();
            rest = &rest[rest.len() - left..];
        }
    }
}

fn word(chars: &mut Peekable<Chars<'_>>) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    // Quotes around nothing are a word as well.
    let mut text = String::new();
    let mut quote = None;
    while let Some(&next) = chars.peek() {
        if quote.is_none() && (next.is_whitespace() || ";<>&|".contains(next)) {
            break;
        }
        chars.next();
        match (quote, next) {
            (None, '\'' | '"') => quote = Some(next),
            (Some(open), _) if open == next => quote = None,
            (Some('\''), _) => text.push(next),
            (None, '\\') => text.extend(chars.next()),
            (Some(_), '\\') if chars.peek().is_some_and(|next| "\"\\$".contains(*next)) => {
                text.extend(chars.next());
            }
            (_, '$') => {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Variable(variable(chars)?));
            }
            (None, _) if REFUSED.contains(&next) => return Err(format!("`{next}` is for a real shell")),
            _ => text.push(next),
        }
    }
    if let Some(open) = quote {
        return Err(format!("a {open} is not closed"));
    }
    pieces.push(Piece::Text(text));
    Ok(pieces)
}

fn variable(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    if chars.next_if_eq(&'$').is_some() {
        return Ok("$".to_owned());
    }
    let mut name = String::new();
    while let Some(next) = chars.next_if(|next| next.is_ascii_alphanumeric() || *next == '_') {
        name.push(next);
    }
    if name.is_empty() { Err("a `$` without a name".to_owned()) } else { Ok(name) }
}

/// How a command ended.
enum Flow {
    /// With this status.
    Goes(u8),
    /// And the script with it.
    Exits(u8),
}

/// A script that runs: its variables.
#[derive(Debug, Default)]
struct Shell(BTreeMap<String, String>);

impl Shell {
    fn run(&mut self, tokens: &[Token]) -> u8 {
        let is_end = |token: &Token| matches!(token, Token::Operator(";" | "\n"));
        let mut status = 0;
        for list in tokens.split(is_end).filter(|list| !list.is_empty()) {
            match self.list(list) {
                Flow::Goes(code) => status = code,
                Flow::Exits(code) => return code,
            }
        }
        status
    }

    fn list(&mut self, tokens: &[Token]) -> Flow {
        let is_joint = |token: &Token| matches!(token, Token::Operator("&&" | "||"));
        let mut joints = tokens.iter().filter(|token| is_joint(token));
        let (mut status, mut is_due) = (0, true);
        for command in tokens.split(is_joint) {
            let joint = joints.next();
            if is_due {
                status = match self.command(command) {
                    Flow::Goes(status) if status == 0 || joint.is_some() => status,
                    Flow::Goes(status) | Flow::Exits(status) => return Flow::Exits(status),
                };
            }
            is_due = (status == 0) == (joint != Some(&Token::Operator("||")));
        }
        Flow::Goes(status)
    }

    #[expect(clippy::print_stderr, reason = "a program's own output")]
    fn command(&mut self, tokens: &[Token]) -> Flow {
        let is_not = matches!(tokens, [Token::Word(word), _, ..] if *word == [Piece::Text("!".to_owned())]);
        match self.prepare(&tokens[usize::from(is_not)..]).and_then(|command| self.carry_out(command)) {
            Ok(Flow::Goes(status)) if is_not => Flow::Goes(u8::from(status == 0)),
            Ok(flow) => flow,
            Err(error) => {
                eprintln!("{error}");
                Flow::Goes(u8::from(!is_not))
            }
        }
    }

    /// Fills the words in, and opens what the command reads and writes.
    fn prepare(&self, tokens: &[Token]) -> io::Result<Command> {
        let (mut stdin, mut stdout) = (own(io::stdin())?, own(io::stdout())?);
        let mut words = Vec::new();
        let mut tokens = tokens.iter();
        while let Some(token) = tokens.next() {
            let operator = match token {
                Token::Word(pieces) => {
                    words.push(self.fill(pieces)?);
                    continue;
                }
                Token::Operator(operator) => *operator,
            };
            if operator == ">&2" {
                stdout = own(io::stderr())?;
                continue;
            }
            let Some(Token::Word(pieces)) = tokens.next() else {
                return Err(io::Error::other(format!("no file behind {operator}")));
            };
            let file = self.fill(pieces)?;
            let opened = match operator {
                "<" => File::open(&file).map(|file| stdin = file),
                ">" => File::create(&file).map(|file| stdout = file),
                _ => File::options().append(true).create(true).open(&file).map(|file| stdout = file),
            };
            opened.map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))?;
        }
        Ok(Command { words, stdin, stdout })
    }

    fn fill(&self, pieces: &[Piece]) -> io::Result<String> {
        let mut word = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => word.push_str(text),
                Piece::Variable(name) if name == "$" => word.push_str(&std::process::id().to_string()),
                Piece::Variable(name) => match self.0.get(name).cloned().or_else(|| std::env::var(name).ok())
                {
                    Some(value) => word.push_str(&value),
                    None => return Err(io::Error::other(format!("{name} is not set"))),
                },
            }
        }
        Ok(word)
    }

    fn carry_out(&mut self, mut command: Command) -> io::Result<Flow> {
        let words = std::mem::take(&mut command.words);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["exit"] => Ok(Flow::Exits(0)),
            ["exit", code] => Ok(Flow::Exits(commands::number(code)?)),
            ["read", name] => {
                let (line, status) = commands::line(&mut command.stdin)?;
                self.0.insert(name.to_owned(), line);
                Ok(Flow::Goes(status))
            }
            _ => commands::run(&words, command)
                .map(Flow::Goes)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", words.join(" ")))),
        }
    }
}

/// A command with all that it needs.
#[derive(Debug)]
struct Command {
    words: Vec<String>,
    stdin: File,
    stdout: File,
}

/// A standard stream, without a buffer.
fn own(stream: impl AsFd) -> io::Result<File> {
    Ok(stream.as_fd().try_clone_to_owned()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script with `$T`, a file that it may write; gives its code and the file.
    fn of(text: &str) -> (u8, String) {
        let folder = crate::scratch();
        let file = folder.path().join("out");
        let mut running = Shell::default();
        running.0.insert("T".to_owned(), file.display().to_string());
        let code = running.run(&lex(text).expect("a script"));
        (code, std::fs::read_to_string(file).unwrap_or_default())
    }

    #[test]
    fn a_script_ends_where_a_list_fails() {
        assert_eq!(of("echo one >$T; false && echo no; false || echo two >>$T; false; exit 7").0, 1);
        assert_eq!(of("echo one >$T; false && true; echo two>>$T\n\nexit 7"), (7, "one\ntwo\n".to_owned()));
        assert_eq!(
            (of("true").0, of("! true").0, of("! false").0, of("true && false || exit 3").0),
            (0, 1, 0, 3)
        );
        assert_eq!((of("nonsense").0, of("cat </no/file").0, of("echo $UNKNOWN").0), (UNKNOWN, 1, 1));
    }

    #[test]
    fn words_are_those_of_a_shell() {
        let said = |words: &str| of(&format!("echo {words} >$T")).1;
        assert_eq!(said(r#"a'b  "c'"d 'e" f\ g "" "#), "ab  \"cd 'e f g \n");
        assert_eq!(said(r#"'$T' "\$T\"\n" \;"#), "$T $T\"\\n ;\n");
        assert_eq!(said("$$ \"$$x\""), format!("{0} {0}x\n", std::process::id()));
        assert_eq!(run("echo 'open"), NO_SCRIPT);
        for real in ["sleep 1 &", "cat | cat", "(true)", "echo *", "echo $"] {
            assert_eq!(run(real), NO_SCRIPT, "{real}");
        }
    }

    #[test]
    fn what_was_read_is_a_variable() {
        assert_eq!(
            of("printf 'one\\ntwo' >$T; read a <$T; echo got $a >>$T"),
            (0, "one\ntwogot one\n".to_owned())
        );
        assert_eq!(of("printf '' >$T; read a <$T").0, 1);
    }
}
