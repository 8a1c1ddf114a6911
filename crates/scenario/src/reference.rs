//! The grammar as a page for people (docs/scenario.md).

use std::fmt::Write as _;

use crate::grammar::{self, Key, Kind, Shape, Unspoken, VERBS, Verb};

/// What no table can say.
const HEAD: &str = "\
# The scenario file

A scenario is a [TOML](https://toml.io) file (1.1: a long step may break over lines). Its name is the test's name. Every
mistake of every file is said at once by `netsplit lint FILE`, and before anything runs.

Keys of the file stand above the first `[header]`: in TOML a key belongs to the last header above it. A step is one line
in `steps = [ … ]`, its verb first.
";

const VALUES: &str = "\
## Values

- **Hosts** (`on`, `kill`, `each` …): hosts, roles, names that an earlier `find … as` captured, and `all`; a comma joins,
  `-` takes away: `members,-leader`. `here` is the machine netsplit runs on; only `run` and `sh` go there.
- **Links** (`cut`, `link` …): `X to Y` is from each of X to each of Y, one way; `X and Y` is both ways. X and Y are hosts,
  or routers. Only those on one network have a link; a fault that is about none is a mistake.
- **Networks** are made before any step: who is on one is said with hosts and roles. See [networks.md](networks.md).
- **A fault** of the network begins with its step and ends with its test, whatever became of that, before the test's
  `cleanup`; `for` or `heal` end it earlier. Of several faults on one link each figure is as the newest says that says
  anything of it. What is wrong with a fault is said before anything runs, as far as it is known then who is meant.
- **A process** is `HOST/NAME`, `ROLE/NAME`, or `NAME` for all hosts on which it was started; `NAME.2` is the second of
  that name on its host. A process is called as its command in `[commands]`, else as its program's file, or as `name` says.
- **Commands** are texts that are split into words as a shell does, and nothing more; a list is the exact words. A bare
  `|`, `>`, `&&` or `$(` is a mistake, and so is a first word `X=1`: `sh` takes a script, `env` takes variables. A `$NAME`
  stays as it is, with a warning unless it stands in '…'. A first word that is a command of `[commands]` means that. A
  first word with a slash that does not begin with one (`./kvd`) is a file beside the scenario and is brought to the host;
  any other is looked up there.
- **`%{NAME}`** is filled in, `%%` is a percent sign, any other `%` stays. Of a host: `host role index count address
  address6`, `file:NAME`. Of the run: `run seed`. Yours: variables, keys of the matrix, captured hosts, saved values, and
  what `-s` sets. `index` counts the hosts of a role from 0, `count` is how many there are.
- **Regular expressions** are those of Rust's `regex`; `^` and `$` are begin and end of a line, '…' spares doubled
  backslashes, and values of `%{…}` stand for themselves.
- **Durations** have a unit: ns us ms s m h d, as in `1m30s`. **Sizes** too: B kB MB GB KiB MiB GiB TiB.
- **Saved values** belong to the host that saved them: a step on that host sees its own; any other step sees the value
  only when all that saved it agree.
- **Templates** of files are minijinja, in which every name must be set: `host index address address6 role count`, all
  variables, and `peers`, the hosts of the same role, itself included, each with those words. Lines that only hold a
  `{% … %}` leave nothing behind.
- **Needs.** Steps need what they do: `kill` and `restart` need the capability kill, `pause` and `resume` need pause,
  `networks`, `routers`, the faults of the network, `heal` and `capture` need network, `pty` needs pty, `user` needs users,
  `run`, `sh` and `start` on hosts need programs. `netsplit lint` lists them with their lines. A scenario whose provider cannot do one is skipped with that reason; a test that says so in its own
  `needs` is skipped alone.
";

/// The reference of the scenario file, in Markdown.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for shape in grammar::SHAPES.iter().take(2) {
        section(&mut page, shape);
    }
    page += "\n## Steps\n\nA step has exactly one verb, and only the words that go with it.\n";
    VERBS.iter().for_each(|verb| verb_section(&mut page, verb));
    for shape in grammar::SHAPES.iter().skip(2) {
        section(&mut page, shape);
    }
    page.push('\n');
    page += VALUES;
    page += "\n## Words that come later\n\nThese are known and refused, each with what it waits for.\n\n";
    page += "| word | where | needs |\n| --- | --- | --- |\n";
    for (place, unspoken) in Unspoken::all() {
        let _ = writeln!(page, "| `{}` | {place} | {} |", unspoken.word, unspoken.needs);
    }
    page
}

fn section(page: &mut String, shape: &Shape) {
    let _ = write!(page, "\n## {}\n\n{}\n\n", shape.title, shape.about);
    table(page, shape.keys);
}

fn verb_section(page: &mut String, verb: &Verb) {
    let _ = write!(page, "\n### `{}`\n\n{}\n\n```toml\n{}\n```\n", verb.word, verb.about, verb.example);
    let _ = write!(page, "\n`{}` wants {}.\n", verb.word, wants(verb.kind));
    if !verb.takes.is_empty() {
        page.push('\n');
        table(page, verb.takes);
    }
}

fn table(page: &mut String, keys: &[Key]) {
    *page += "| key | means | wants | such as |\n| --- | --- | --- | --- |\n";
    for key in keys {
        let must = if key.must { " (must be there)" } else { "" };
        let (about, wants, example) = (cell(key.about), cell(&wants(key.kind)), cell(key.example));
        let _ = writeln!(page, "| `{}`{must} | {about} | {wants} | `{example}` |", key.word);
    }
}

fn wants(kind: Kind) -> String {
    match kind {
        Kind::Table(shape) => format!("a table: {}", shape.title),
        Kind::Map(inner) => format!("a table of names; each {}", wants(*inner)),
        Kind::Either(kinds) => kinds.iter().map(|kind| wants(*kind)).collect::<Vec<_>>().join("; or "),
        other => other.wants().to_owned(),
    }
}

/// What would end a cell is escaped.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_on_the_page() {
        let page = reference();
        let keys = grammar::SHAPES
            .iter()
            .flat_map(|shape| shape.keys)
            .chain(VERBS.iter().flat_map(|verb| verb.takes));
        for key in keys {
            assert!(page.contains(&format!("| `{}`", key.word)), "{}", key.word);
        }
        for line in page.lines().filter(|line| line.starts_with('|')) {
            let cells = line.replace("\\|", "").matches('|').count();
            assert!(cells == 5 || cells == 4, "{line}");
        }
    }
}
