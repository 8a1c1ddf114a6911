//! What `netsplit new` writes: a scenario that runs as it is, with two lines for its author to fill in.

use netsplit_model::{HostName, check_identifier, words};

use crate::read::process_name;

/// More hosts than this are not written down by name.
const NAMED_HOSTS_MAX: usize = 9;
/// What runs when no command was given.
const NO_COMMAND: &str = "sleep 600";

/// A scenario for `hosts` hosts that start `argv`, to be written to the file `name`.
pub fn new_scenario(name: &str, hosts: usize, argv: &[String]) -> String {
    let names = names(hosts.max(1));
    let victim = names.get(1).unwrap_or(&names[0]);
    let command = command_name(argv);
    let after = if names.len() > 1 {
        format!(
            "  {{ kill = \"{victim}\" }},{}# as if its power were cut\n  \
             {{ run = \"true\", on = \"nodes,-{victim}\" }},   # TODO: ask the others something, as in run = \"./ctl get x\", stdout = \"1\"\n  \
             {{ restart = \"{victim}\" }},\n",
            " ".repeat(26)
        )
    } else {
        format!(
            "  {{ kill = \"{victim}\" }},     # as if its power were cut\n  \
             {{ restart = \"{victim}\" }},\n  \
             {{ start = \"{command}\", on = \"{victim}\" }},   # TODO: ask it something, as in {{ run = \"./ctl get x\", on = \"{victim}\", stdout = \"1\" }}\n"
        )
    };
    let ready = "# ready = 'listening'";
    let todo =
        if argv.is_empty() { "TODO: what runs on each host, as in \"./kvd --name %{host}\"" } else { "" };
    let (run_note, ready_note) = match argv.is_empty() {
        true => {
            (format!("   # {todo}"), "   # a line that says it is ready: `start` waits for it".to_owned())
        }
        false => (String::new(), "   # TODO: a line that says it is ready: `start` waits for it".to_owned()),
    };
    format!(
        "# Run it: netsplit run {file}     check it: netsplit lint {file}\n\
         hosts.nodes = {hosts}   # all names resolve on all hosts\n\n\
         [commands.{command}]   # a step's first word `{command}` means this\n\
         run = {run}{run_note}\n\
         {ready}{ready_note}\n\n\
         [[test]]   # in order, on the same hosts\n\
         name  = \"it comes up\"\n\
         steps = [\n  \
         {{ start = \"{command}\", on = \"nodes\" }},   # on all hosts at the same time\n  \
         {{ never = \"panic|fatal\", for = \"1s\" }},\n  \
         {{ expect = \"nodes/{command}\", runs = true }},\n\
         ]\n\n\
         [[test]]\n\
         name  = \"it survives a loss\"\n\
         steps = [\n{after}]\n",
        file = one_line(name),
        hosts = written_hosts(&names),
        run = run(argv),
    )
}

fn names(hosts: usize) -> Vec<String> {
    if hosts <= NAMED_HOSTS_MAX {
        return HostName::numbered(hosts).iter().map(ToString::to_string).collect();
    }
    (0..hosts).map(|index| format!("nodes{index}")).collect()
}

fn written_hosts(names: &[String]) -> String {
    if names.len() > NAMED_HOSTS_MAX {
        return names.len().to_string();
    }
    format!("[{}]", names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "))
}

fn command_name(argv: &[String]) -> String {
    let name = process_name(
        argv.first().map_or(NO_COMMAND, |first| first.as_str()).split(' ').next().unwrap_or_default(),
    );
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
    if check_identifier(&name) { name } else { "program".to_owned() }
}

/// The command line as a TOML string.
fn run(argv: &[String]) -> String {
    if argv.is_empty() {
        return format!("\"{NO_COMMAND}\"");
    }
    let plain = |text: &str| !text.contains(['"', '\\']) && !text.contains(char::is_control);
    let joined = words::join(argv.iter().map(String::as_str));
    if plain(&joined) {
        return format!("\"{joined}\"");
    }
    let words: Vec<_> = argv.iter().map(|word| basic_string(word)).collect();
    format!("[{}]", words.join(", "))
}

/// A TOML string in `"…"`.
fn basic_string(text: &str) -> String {
    let escape = |c: char| match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        c if c.is_control() => format!("\\U{:08x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Overrides, Paint, Scenario};
    use netsplit_model::Reason;
    use proptest::prelude::*;

    fn check(name: &str, hosts: usize, argv: &[&str]) -> String {
        let argv: Vec<_> = argv.iter().map(|&word| word.to_owned()).collect();
        let text = new_scenario(name, hosts, &argv);
        let loaded = Scenario::parse(name, &text, &Overrides::default());
        let loaded = loaded.unwrap_or_else(|mistakes| panic!("{}\n{text}", mistakes.draw(Paint::Plain)));
        // The user may make the program later.
        let others = loaded.warnings.iter().filter(|warning| warning.name != Reason::NoSuchFile);
        assert_eq!(others.count(), 0, "{:?}", loaded.warnings);
        assert_eq!(loaded.scenario.hosts().count(), hosts);
        assert_eq!(loaded.scenario.cases()[0].tests.iter().map(|test| test.steps.len()).sum::<usize>(), 6);
        assert_eq!(text.matches("TODO").count(), 2, "{text}");
        text
    }

    #[test]
    fn what_is_written_lints_clean() {
        let text =
            check("quorum.toml", 3, &["./kvd", "--listen", ":7000", "--peers", "a:7000,b:7000,c:7000"]);
        assert!(text.contains("run = \"./kvd --listen :7000 --peers a:7000,b:7000,c:7000\"\n"), "{text}");
        check("one.toml", 1, &["/usr/bin/my server", "a \"b\"", "c\\d\ne"]);
        check("many.toml", 64, &[]);
        check("odd.toml", 2, &["./7z", "%{host}"]);
    }

    proptest! {
        #[test]
        fn any_command_line_can_be_written(argv in prop::collection::vec("[^%]{1,12}", 1..4), hosts in 1usize..12) {
            let text = new_scenario("x.toml", hosts, &argv);
            let loaded = Scenario::parse("x.toml", &text, &Overrides::default());
            let loaded = loaded.map_err(|mistakes| TestCaseError::fail(mistakes.draw(Paint::Plain) + &text))?;
            let crate::Verb::Start(start) = &loaded.scenario.cases()[0].tests[0].steps[0].verb else { panic!() };
            let words: Vec<_> = start.command.program.words.iter().map(|word| word.as_str().to_owned()).collect();
            prop_assert_eq!(words, argv);
        }
    }
}
