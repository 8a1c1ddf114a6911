//! No text whatever makes the reader panic: pieces of all examples, cut and put together anew.

use netsplit_scenario::{Overrides, Paint, Scenario};
use proptest::prelude::*;

/// All examples, good and bad.
fn corpus() -> Vec<String> {
    let mut texts = Vec::new();
    for folder in ["tests/good", "tests/mistakes"] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                texts.push(std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    texts.sort();
    texts
}

/// Reads, draws and asks for steps; what comes out does not matter.
fn check(text: &str) {
    // In a folder where nothing is, so that no include is found.
    match Scenario::parse("no-such-folder/x.toml", text, &Overrides::default()) {
        Ok(loaded) => {
            for line in 0..20 {
                let _ = loaded.scenario.stop_before(line);
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.troubles.is_empty());
            let drawn = mistakes.draw(Paint::Colour);
            assert!(drawn.ends_with("nothing was run\n"), "{drawn}");
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Remove(usize, usize),
    Repeat(usize, usize),
    Insert(usize, String),
    Swap(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let pieces = prop::sample::select(vec![
        "\"",
        "'",
        "\"\"\"",
        "{",
        "}",
        "[",
        "]",
        "[[",
        "]]",
        "=",
        ".",
        ",",
        "\n",
        "\\",
        "%{",
        "}",
        "%%",
        "#",
        "\u{e9}",
        "\0",
        "\r",
        "-",
        "/",
        "here",
        "all",
        "run",
        "on",
        "steps",
        "name",
        "[[test]]",
        "[commands.x]",
        "json:",
        "1",
        "true",
        "%{leader}",
        "%{fault}",
        "save",
        "do",
        "together",
        "cut",
        "link",
        "partition",
        "heal",
        "flap",
        " to ",
        " and ",
        "%",
        "(",
        "*",
        "matrix",
        "include",
        "1979-05-27",
    ]);
    prop_oneof![
        (any::<usize>(), 1usize..30).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<usize>(), 1usize..60).prop_map(|(at, length)| Change::Repeat(at, length)),
        (any::<usize>(), pieces).prop_map(|(at, piece)| Change::Insert(at, piece.to_owned())),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Change::Swap(a, b)),
    ]
}

fn apply(text: &mut String, change: &Change) {
    let chars: Vec<char> = text.chars().collect();
    let at = |place: usize| place % (chars.len() + 1);
    let part = |place: usize, length: usize| at(place)..(at(place) + length).min(chars.len());
    let collect = |parts: &[&[char]]| parts.concat().into_iter().collect::<String>();
    *text = match change {
        Change::Remove(place, length) => {
            let part = part(*place, *length);
            collect(&[&chars[..part.start], &chars[part.end..]])
        }
        Change::Repeat(place, length) => {
            let part = part(*place, *length);
            collect(&[&chars[..part.end], &chars[part.start..]])
        }
        Change::Insert(place, piece) => {
            let piece: Vec<char> = piece.chars().collect();
            collect(&[&chars[..at(*place)], &piece, &chars[at(*place)..]])
        }
        Change::Swap(a, b) => {
            let mut lines: Vec<&str> = text.split('\n').collect();
            let (a, b) = (a % lines.len(), b % lines.len());
            lines.swap(a, b);
            lines.join("\n")
        }
    };
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn changed_examples_never_panic(which in any::<usize>(), changes in prop::collection::vec(change(), 1..6)) {
        let corpus = corpus();
        let mut text = corpus[which % corpus.len()].clone();
        for change in &changes {
            apply(&mut text, change);
        }
        check(&text);
    }

    #[test]
    fn lines_of_many_examples_never_panic(lines in prop::collection::vec((any::<usize>(), any::<usize>()), 1..30)) {
        let corpus = corpus();
        let line = |(which, line): &(usize, usize)| {
            let text = &corpus[which % corpus.len()];
            let lines: Vec<&str> = text.lines().collect();
            lines.get(line % lines.len().max(1)).copied().unwrap_or_default().to_owned()
        };
        check(&lines.iter().map(line).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn any_text_never_panics(text in "\\PC{0,200}", quote in "=?['\"]{0,3}\\\\?[uUxn]?") {
        check(&text);
        check(&(quote + &text));
    }
}

#[test]
fn deep_and_long_texts_end() {
    check(&"[".repeat(100_000));
    check(&format!("x = {}", "[".repeat(50_000)));
    check(&format!("x = {}", "{a=".repeat(50_000)));
    check(&format!("{}x = 1", "a.".repeat(50_000)));
    check(&format!("hosts.a = 1\n[[test]]\nname = 'x'\nsteps = [{}]", "{ note = 'x' },".repeat(30_000)));
    let doubling: String = (1..40)
        .map(|n| format!("p{n} = {{ steps = [{{ do = 'p{0}' }}, {{ do = 'p{0}' }}] }}\n", n - 1))
        .collect();
    check(&format!(
        "hosts.a = 1\n[procedures]\np0 = {{ steps = [{{ note = 'x' }}] }}\n{doubling}[[test]]\nname = 'x'\nsteps = [{{ do = 'p39' }}]"
    ));
    let variables: String = (1..60).map(|n| format!("v{n} = '%{{v{0}}}%{{v{0}}}'\n", n - 1)).collect();
    check(&format!(
        "hosts.a = 1\n[variables]\nv0 = 'x'\n{variables}[[test]]\nname = 'x'\nsteps = [{{ note = '%{{v59}}' }}]"
    ));
}
