//! What a runner and the command line ask of a scenario.

use std::path::Path;

use netsplit_model::{Capability, HostName};
use netsplit_scenario::{
    Exit, HostFacts, HowMany, Judged, Level, Linted, Loaded, Overrides, Paint, Program, Scenario, Values,
    Verb, Where, lint,
};

fn load(text: &str) -> Loaded {
    load_with(text, &[], &[])
}

fn load_with(text: &str, set: &[&str], hosts: &[&str]) -> Loaded {
    let mut overrides = Overrides::default();
    set.iter().for_each(|text| overrides.set(text).unwrap());
    hosts.iter().for_each(|text| overrides.hosts(text).unwrap());
    Scenario::parse("x.toml", text, &overrides)
        .unwrap_or_else(|mistakes| panic!("{}", mistakes.draw(Paint::Plain)))
}

fn test_of(steps: &str) -> String {
    format!(
        "hosts.members = ['a', 'b', 'c']\nhosts.client = 2\n[[test]]\nname = 'x'\nsteps = [\n{steps}\n]\n"
    )
}

const ROLES: &str = "hosts.members = ['a', 'b', 'c']\nhosts.client = { count = 2 }\n";

#[test]
fn a_line_is_a_step_or_the_next_one_is_named() {
    let text = "hosts.a = 1\n[procedures.p]\nsteps = [\n  { note = 'in p' },\n]\n[[test]]\nname = 'one'\nsteps = [\n  \
                { run = 'x',\n    on = 'a' },\n  { do = 'p' },\n]\n[[test]]\nname = 'two'\nsteps = [{ note = 'end' }]\n";
    let scenario = load(text).scenario;
    let check = |line: u32, expect: &str| {
        let said = match scenario.stop_before(line) {
            Ok(at) => format!("{}.{}", at.test, at.step),
            Err(trouble) => trouble.to_string().replace('\n', " | "),
        };
        assert_eq!(said, expect, "line {line}");
    };
    check(9, "0.0");
    check(10, "0.0");
    check(11, "0.1");
    check(15, "1.0");
    check(7, "no step begins on line 7 of x.toml  [bad-setting] | fix: x.toml:9   run `x` on a");
    check(13, "no step begins on line 13 of x.toml  [bad-setting] | fix: x.toml:15   note end");
    check(99, "no step begins on line 99 of x.toml  [bad-setting] | fix: x.toml:15   note end");
    let procedure =
        "no step begins on line 4 of x.toml  [bad-setting] | because it belongs to what line 11 does";
    check(4, &format!("{procedure} | fix: x.toml:11"));
}

#[test]
fn the_command_line_changes_counts_variables_and_the_matrix() {
    let text = "hosts.node = 2\nhosts.big = { disk = '1MiB' }\nvariables.port = '1'\nmatrix.version = ['3', '4']\n\
                [[test]]\nname = 'x'\nsteps = [{ run = 'x %{port} %{version} %{colour}', on = 'node' }]\n";
    let loaded = load_with(text, &["port=50%%{x}", "version=4", "colour=blue"], &["node=3", "big=2"]);
    let scenario = loaded.scenario;
    let hosts: Vec<_> = scenario.hosts().map(HostName::as_str).collect();
    assert_eq!(hosts, ["node0", "node1", "node2", "big0", "big1"]);
    assert_eq!(scenario.roles[1].disk, Some(1 << 20));
    assert_eq!(scenario.cases().len(), 1);
    assert_eq!(scenario.cases()[0].name, "x[version=4]");
    let values = values(&scenario, 0);
    assert_eq!(values.get("port", None).as_deref(), Some("50%%{x}"), "taken as it is");
    assert_eq!(values.get("colour", None).as_deref(), Some("blue"));
    assert!(Overrides::default().set("x").is_err() && Overrides::default().hosts("a=0").is_err());
    assert_eq!(Overrides::default().hosts("a").unwrap_err().to_string().lines().count(), 2);
}

fn facts(scenario: &Scenario) -> &'static [HostFacts] {
    let fact = |(index, name): (usize, &HostName)| HostFacts {
        name: name.clone(),
        address: format!("10.0.0.{}", index + 1),
        address6: format!("fd00::{}", index + 1),
    };
    Box::leak(scenario.hosts().enumerate().map(fact).collect())
}

fn values(scenario: &Scenario, case: usize) -> Values<'_> {
    let made: &'static dyn Fn(&str, Option<&HostName>) -> Option<String> = &|name, host| match (name, host) {
        ("leader", _) => Some("b".to_owned()),
        ("rate", Some(host)) => Some(format!("7.{}", host.as_str().len())),
        _ => None,
    };
    let file: &'static dyn Fn(&str, &HostName) -> Option<String> =
        &|name, host| Some(format!("/run/{host}/{name}"));
    Values {
        scenario,
        case: &scenario.cases()[case],
        hosts: facts(scenario),
        run: "7k3f",
        seed: 4711,
        made,
        file,
    }
}

#[test]
fn values_are_filled_in_for_each_host() {
    let text = format!(
        "{ROLES}matrix.proto = ['tcp', 'udp']\n[variables]\npeers = {{ each = 'members,-b', as = '%{{host}}=%{{url}}', join = ';' }}\n\
         url = '%{{proto}}://%{{address}}:%{{port}}'\nport = '7000'\n[files.conf]\non = 'members'\ntext = 'x'\n\
         [[test]]\nname = 'x'\nsteps = [\n{{ find = 'x', as = 'leader' }},\n{{ run = 'y', on = 'client', save.rate = '(.)' }},\n\
         {{ run = 'z %{{peers}} %{{host}} %{{role}}%{{index}}/%{{count}} %{{address6}} %{{file:conf}} %{{leader}} %{{rate}} %{{run}} %{{seed}} 100%%', on = 'client' }},\n\
         {{ wait_for = 'from %{{leader}}\\.$' }},\n]\n"
    );
    let scenario = load(&text).scenario;
    let values = values(&scenario, 1);
    let Verb::Run(run) = &values.case.tests[0].steps[2].verb else { panic!() };
    let host = HostName::new("client1").unwrap();
    let words: Vec<_> =
        run.command.program.words.iter().map(|word| values.text(word, Some(&host)).unwrap()).collect();
    let expect = "z a=udp://10.0.0.1:7000;c=udp://10.0.0.3:7000 client1 client1/2 fd00::5 /run/client1/conf b 7.7 7k3f 4711 100%";
    assert_eq!(words.join(" "), expect);
    let Verb::WaitFor(wait) = &values.case.tests[0].steps[3].verb else { panic!() };
    assert_eq!(values.pattern(&wait.pattern).unwrap().as_str(), r"from (?:b)\.$");
    assert!(values.pattern(&wait.pattern).unwrap().is_match(b"one\nfrom b.\ntwo"), "line by line");
    assert_eq!(values.get("host", None), None);
    assert_eq!(values.get("nothing", None), None);
}

#[test]
fn templates_make_a_file_for_each_host() {
    let loaded = Scenario::load(Path::new("tests/good/committee.toml"), &Overrides::default()).unwrap();
    let netsplit_scenario::Content::Template(template) = &loaded.scenario.files["config"].content else {
        panic!()
    };
    let made = values(&loaded.scenario, 0).template(template, &HostName::new("node2").unwrap()).unwrap();
    assert!(made.starts_with("{\n  \"name\": \"node2\",\n  \"index\": 2,\n  \"of\": 4,\n  \"peers\": [\n    { \"name\": \"node0\""), "{made}");
    assert_eq!(made.lines().filter(|line| line.trim().is_empty()).count(), 0, "{made}");
    assert!(made.ends_with("]\n}\n"));
}

#[test]
fn a_step_has_what_was_said_and_what_its_command_says() {
    let text = format!(
        "{ROLES}[commands.kvd]\nrun = './kvd -v'\nenv = {{ A = '1', B = '2' }}\nuser = 'kv'\nready = 'up'\nwithin = '9s'\nstop = 'INT'\n\
         [commands.count]\nsh = 'ls $1'\n[[test]]\nname = 'x'\nsteps = [\n\
         {{ start = \"kvd --id '%{{host}} x'\", on = 'members', env = {{ B = false, C = '3' }}, within = '1s', name = 'kv2' }},\n\
         {{ run = ['count', 'a b'], on = 'here', exit = [0, 3], eventually = '2s' }},\n\
         {{ wait_for = 'x', on = 'a/kv2', at_least = 'all' }},\n\
         {{ kill = 'members,-a/kv2.2' }},\n{{ expect = '%{{run}}', at_least = 2 }},\n]\n"
    );
    let scenario = load(&text).scenario;
    let steps = &scenario.cases()[0].tests[0].steps;
    let Verb::Start(start) = &steps[0].verb else { panic!() };
    let command = &start.command;
    let words =
        |program: &Program| program.words.iter().map(|word| word.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(words(&command.program), ["./kvd", "-v", "--id", "%{host} x"]);
    assert!(Program::is_local("./kvd") && Program::is_local("bin/kvd") && !Program::is_local("/bin/kvd"));
    assert_eq!((command.name.as_str(), command.user.as_deref(), command.stop), ("kv2", Some("kv"), 2));
    assert_eq!(command.within, Some(std::time::Duration::from_secs(1)));
    let env: Vec<_> =
        command.env.iter().map(|(name, value)| (name.as_str(), value.as_ref().map(|v| v.as_str()))).collect();
    assert_eq!(env, [("A", Some("1")), ("B", None), ("C", Some("3"))]);
    let Verb::Run(run) = &steps[1].verb else { panic!() };
    assert!(matches!(run.on, Where::Here));
    assert_eq!(words(&run.command.program), ["a b"]);
    assert_eq!(run.command.program.script.as_ref().map(|script| script.as_str()), Some("ls $1"));
    assert_eq!(run.checks.exit, Exit::Codes(vec![0, 3]));
    let Verb::WaitFor(wait) = &steps[2].verb else { panic!() };
    assert_eq!(wait.hosts, HowMany::All);
    assert_eq!(wait.on.process.as_ref().map(|process| process.name.as_str()), Some("kv2"));
    let Verb::KillProcess(process) = &steps[3].verb else { panic!() };
    assert_eq!((process.process.number, process.to_string()), (Some(2), "members,-a/kv2.2".to_owned()));
    let Verb::Expect(expect) = &steps[4].verb else { panic!() };
    assert!(matches!(expect.what, Judged::Value(_)));
}

#[test]
fn needs_are_found_and_a_test_may_keep_its_own() {
    let text = format!(
        "{ROLES}[[test]]\nname = 'x'\nsteps = [{{ pause = 'a' }}, {{ run = 'x', on = 'here' }}]\n\
         [[test]]\nname = 'y'\nneeds = 'kill'\nsteps = [{{ kill = 'a' }}, {{ restart = 'a' }}]\n"
    );
    let scenario = load(&text).scenario;
    let case = &scenario.cases()[0];
    let shown = |needs: &[netsplit_scenario::Need]| {
        needs
            .iter()
            .map(|need| format!("{} {} {}", need.capability, need.by, need.place.line))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        shown(&case.needs),
        ["pause pause 5"],
        "`here` needs no provider, and the second test has its own"
    );
    assert_eq!(shown(&case.tests[1].needs), ["kill needs 8"]);
    assert_eq!(
        scenario.needs().iter().map(|need| need.capability).collect::<Vec<_>>(),
        [Capability::Kill, Capability::Pause]
    );
}

#[test]
fn parts_are_linted_for_what_can_be_known() {
    match lint(Path::new("tests/good/etcd-cluster.toml")) {
        Ok(Linted::Part { warnings, sources }) => {
            assert!(warnings.is_empty());
            assert_eq!(sources.names().collect::<Vec<_>>(), ["tests/good/etcd-cluster.toml"]);
        }
        other => panic!("{other:?}"),
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("part.toml");
    std::fs::write(
        &path,
        "commands.x = { rnu = 'x' }\n[procedures.p]\nsteps = [{ kill = 'whoever' }, { wait_for = '(' }]\n",
    )
    .unwrap();
    let drawn = lint(&path).unwrap_err().draw(Paint::Plain);
    assert!(drawn.contains("did you mean `run`?") && drawn.contains("unclosed group"), "{drawn}");
    assert!(drawn.ends_with("3 mistakes in 1 file, nothing was run\n"), "{drawn}");
    let missing = lint(&folder.path().join("no.toml")).unwrap_err().draw(Paint::Plain);
    assert!(
        missing.contains("no.toml is not there") && missing.ends_with("1 mistake, nothing was run\n"),
        "{missing}"
    );
    std::fs::write(&path, b"about = \"\xff\"\n").unwrap();
    assert!(lint(&path).unwrap_err().draw(Paint::Plain).contains("is no UTF-8 text: byte 10 is none of it"));
}

#[test]
fn a_scenario_is_told_from_other_files() {
    assert!(Scenario::is_scenario(&test_of("")));
    assert!(!Scenario::is_scenario("hosts.a = 1\n"));
    assert!(!Scenario::is_scenario("[package]\nname = 'x'\n"));
}

#[test]
fn a_run_time_trouble_is_drawn_with_the_same_line() {
    let loaded = load(&test_of("{ note = 'x' },"));
    let place = loaded.scenario.cases()[0].tests[0].steps[0].place.clone();
    let trouble =
        netsplit_model::Trouble::new(netsplit_model::Reason::WaitTimedOut, "no line").at(Some(place));
    let drawn = loaded.sources.draw(&trouble, Level::Error, Paint::Plain);
    assert!(drawn.contains("  --> x.toml:6:3\n6 | { note = 'x' },\n  |   ^^^^\n"), "{drawn}");
}

#[test]
fn the_same_scenario_is_read_from_text_and_from_a_file() {
    let path = Path::new("tests/good/etcd.toml");
    let from_file = Scenario::load(path, &Overrides::default()).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(from_file.sources.text("tests/good/etcd.toml"), Some(text.as_str()));
    let from_text = Scenario::parse("tests/good/etcd.toml", &text, &Overrides::default()).unwrap();
    assert_eq!(format!("{:?}", from_file.scenario), format!("{:?}", from_text.scenario));
}
