//! Faults of the network in scenarios: whose they are, when they end, what is shown of them.

use crate::support::Project;

/// A packet goes there and back: nothing listens, and that is said at once.
const HEARD: &str = r#"{ run = "timeout 5 bash -c '</dev/tcp/b/9'", on = "a", exit = 1 }"#;
/// Nothing comes back.
const CUT: &str = r#"{ run = "timeout 0.3 bash -c '</dev/tcp/b/9'", on = "a", exit = 124 }"#;

/// A scenario of three hosts with these tests, each its other keys and its steps.
fn scenario(project: &Project, head: &str, tests: &[(&str, &[&str])]) {
    let test = |(number, (keys, steps)): (usize, &(&str, &[&str]))| {
        format!("[[test]]\nname = \"t{}\"\n{keys}\nsteps = [\n{}\n]\n", number + 1, steps.join(",\n"))
    };
    let tests: String = tests.iter().enumerate().map(test).collect();
    project.write("x.toml", &format!("hosts.m = [\"a\", \"b\", \"c\"]\n{head}\n{tests}"));
}

fn events(project: &Project) -> String {
    std::fs::read_to_string(project.path().join(".netsplit/last/events.jsonl")).unwrap()
}

#[test]
fn a_fault_ends_with_its_test_or_when_it_is_healed() {
    let project = Project::new();
    let cleanup = format!("keep_going = true\ncleanup = [{HEARD}, {{ isolate = \"c\" }}]");
    let failing = [CUT, r#"{ run = "false", on = "c" }"#];
    scenario(
        &project,
        "",
        &[
            ("", &[HEARD, r#"{ isolate = "b", as = "cut" }"#, CUT, r#"{ heal = "cut" }"#, HEARD]),
            ("", &[r#"{ cut = "b to a" }"#, CUT]),
            (&cleanup, &[&[r#"{ partition = ["a", "b,c"] }"#][..], &failing[..]].concat()),
            ("", &[HEARD, r#"{ hold = "a and b", as = "cut" }"#, CUT, r#"{ heal = "all" }"#, HEARD]),
        ],
    );
    let ran = project.run(&["run", "x.toml"]);
    ran.expect(1).says("step 3 of 3   failed").says("in force partition a | b, c since ");
    ran.says("5 steps      isolate b ").says("2 steps      cut b to a ").says("5 steps      hold a and b ");
    let verdict = project.verdict();
    let verdicts: Vec<_> = verdict["tests"].as_array().unwrap().iter().map(|test| &test["verdict"]).collect();
    assert_eq!(verdicts, ["passed", "passed", "failed", "passed"], "{verdict}");
    assert_eq!(verdict["warnings"].as_array().unwrap().len(), 0, "{verdict}");
    assert_eq!(events(&project).matches("\"fault.began\"").count(), 5);
    assert_eq!(events(&project).matches("\"why\":\"healed\"").count(), 5);
}

#[test]
fn times_of_a_fault_go_on_while_the_test_does() {
    let project = Project::new();
    let wait = r#"{ sleep = "700ms", why = "it heals by itself" }"#;
    scenario(
        &project,
        "",
        &[
            (
                "",
                &[r#"{ isolate = "b", for = "600ms", as = "cut" }"#, CUT, wait, HEARD, r#"{ heal = "cut" }"#],
            ),
            ("", &[r#"{ isolate = "b", after = "700ms" }"#, HEARD, wait, CUT]),
            ("", &[r#"{ cut = "a and c", flap = { down = "100ms", up = "100ms" } }"#, wait]),
        ],
    );
    project.run(&["run", "x.toml"]).expect(0).says("passed").says("3 faults, nothing left behind");
    let events = events(&project);
    assert!(events.contains(r#""why":"time""#), "{events}");
    assert!(events.matches(r#""kind":"fault.turned","fault":"f3""#).count() >= 4, "{events}");
}

#[test]
fn faults_are_done_together_in_procedures_and_as_cases() {
    let project = Project::new();
    let head = "matrix.fault = { isolated = { isolate = \"who\" }, deaf = { reject = \"all to who\" }, \
                halves = { bridge = \"m\", middle = \"who\" }, slow = [{ link = \"a to who\", preset = \"geo\" }] }\n\
                [procedures.two]\nsteps = [{ together = [{ cut = \"a to b\" }, { ring = \"m\", as = \"ring\" }] }]\n";
    let find = r#"{ find = "here", on = "b", as = "who" }"#;
    let said = r#"{ run = "echo here", on = "b" }"#;
    let steps = [said, find, r#"{ do = "%{fault}" }"#, r#"{ heal = "all" }"#, HEARD];
    scenario(&project, head, &[("", &steps), ("", &[r#"{ do = "two" }"#, CUT, r#"{ heal = "ring" }"#, CUT])]);
    project.run(&["run", "x.toml"]).expect(0).says("4 passed");
}

#[test]
fn who_is_captured_decides_whether_a_fault_can_be() {
    let project = Project::new();
    let (said, find) = (r#"{ run = "echo here", on = "b" }"#, r#"{ find = "here", as = "who" }"#);
    scenario(&project, "", &[("", &[said, find, r#"{ partition = ["who", "a,b"] }"#])]);
    let ran = project.run(&["run", "x.toml"]);
    ran.expect(1).says("b is in group 1 and in group 2").says("[bad-fault]").says("--> x.toml:9:3");
    assert!(!events(&project).contains("fault.began"), "nothing was applied");
}

#[test]
fn without_a_network_of_ours_there_are_no_faults() {
    let project = Project::new();
    scenario(&project, "", &[("", &[HEARD, r#"{ isolate = "a" }"#])]);
    let run = |require: &str| {
        let mut command = project.command(&["run", "x.toml"]);
        command.env("NETSPLIT_NETWORK_MODEL", "kernel").env("NETSPLIT_REQUIRE", require);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = run("");
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("needs `network` (`isolate` does)") && said.contains("network.model"), "{said}");
    assert_eq!(run("network").0, Some(1));
}

#[test]
fn what_is_in_force_is_in_the_line_that_changes() {
    let project = Project::new();
    let wait = r#"{ sleep = "1s", why = "to be seen" }"#;
    let delay = r#"{ link = "a to c", delay = "50ms" }"#;
    scenario(
        &project,
        "",
        &[("", &[r#"{ isolate = "b" }"#, delay, r#"{ isolate = "c", after = "1m" }"#, wait])],
    );
    let mut terminal = project.on_terminal(&["run", "x.toml"]);
    terminal.wait_for("isolate b in force · link a to c");
    assert_eq!(terminal.end(), 0, "{}", terminal.said());
    assert!(!terminal.said().contains("isolate c in force"), "{}", terminal.said());
    terminal.wait_for("1 other fault");
}

#[test]
fn captures_end_with_their_test_and_are_evidence() {
    let project = Project::new();
    let steps = [
        r#"{ capture = "all" }"#,
        r#"{ capture = "a,b" }"#,
        r#"{ capture = "a to b" }"#,
        r#"{ cut = "a to b" }"#,
        CUT,
    ];
    scenario(&project, "", &[("", &steps), ("", &[r#"{ capture = "a" }"#, HEARD])]);
    project.run(&["run", "x.toml"]).expect(0);
    for name in ["all", "a", "b", "a-to-b", "a-2"] {
        let path = project.path().join(format!(".netsplit/last/captures/{name}.pcapng"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) && bytes.len() > 200, "{name}: {}", bytes.len());
    }
}

#[test]
fn hosts_are_as_far_apart_as_their_regions() {
    let project = Project::new();
    let regions = r#"{ regions = { sydney = "a", sao-paulo = "b,c" }, as = "earth" }"#;
    // There and back takes 327 ms, longer than `CUT` waits.
    scenario(&project, "", &[("", &[HEARD, regions, CUT, HEARD, r#"{ heal = "earth" }"#, HEARD])]);
    let ran = project.run(&["run", "x.toml"]);
    ran.expect(0).says("regions sydney a | sao-paulo b, c ").says("1 fault, nothing");
}

#[test]
fn presets_are_listed() {
    let project = Project::new();
    let listed = project.run(&["presets"]);
    listed
        .expect(0)
        .says("\tabout\tsource")
        .says("\nlossy-wifi ")
        .says("100 mbit/s\treplicas all over the earth");
    project.run(&["presets", "--regions"]).expect(0).says("\nfrankfurt ").says("ms one way\tdallas");
    let json = |args: &[&str]| serde_json::from_str::<serde_json::Value>(&project.run(args).out()).unwrap();
    let presets = json(&["presets", "--json"]);
    assert_eq!(presets["presets"][0]["name"], "lan");
    let regions = json(&["presets", "--regions", "--json"]);
    assert_eq!((&regions["regions"][3], &regions["delay_ms"][3][6]), (&"frankfurt".into(), &114.0.into()));
}
