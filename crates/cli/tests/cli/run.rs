//! `netsplit run`: verdicts, exit codes, output for people and machines, the run's directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{Project, left_behind};

#[test]
fn every_verdict_has_its_exit_code() {
    let project = Project::new();
    project.scenario("passes.toml", "{ run = \"true\", on = \"a\" }");
    project.run(&["run", "passes.toml"]).expect(0).says("passed").says("nothing left behind");
    assert_eq!(project.verdict()["verdict"], "passed");

    project.scenario("fails.toml", "{ run = \"sh -c 'echo why >&2; exit 3'\", on = \"a\" }");
    let failed = project.run(&["run", "fails.toml"]);
    failed.expect(1).says("exited 3").says("[unexpected-exit]").says("fails.toml:5:3").says("stderr  why");
    failed
        .says("repeat   netsplit run fails.toml --seed")
        .says("netsplit run fails.toml:5   stops just before it");
    assert_eq!(project.verdict()["reason"]["name"], "unexpected-exit");

    project.scenario("infra.toml", "{ run = \"no-such-program-here\", on = \"a\" }");
    project
        .run(&["run", "infra.toml"])
        .expect(3)
        .says("infra")
        .says("no program `no-such-program-here` on a (PATH=");

    project.write(
        "skips.toml",
        "hosts.n = 1\nneeds = \"clock\"\n[[test]]\nname = \"x\"\nsteps = [{ run = \"true\", on = \"n\" }]",
    );
    let skipped = project.run(&["run", "skips.toml"]);
    skipped.expect(4).says("skipped").says("needs `clock`");
    let required = project.command(&["run", "skips.toml"]).env("NETSPLIT_REQUIRE", "clock").output().unwrap();
    assert_eq!(required.status.code(), Some(1), "what is required may not be skipped");

    project
        .run(&["run", "passes.toml", "fails.toml", "infra.toml", "skips.toml"])
        .expect(1)
        .says("1 passed · 1 failed · 1 infra · 0 unknown · 1 skipped");
}

#[test]
fn a_mistake_in_one_file_keeps_all_from_running() {
    let project = Project::new();
    project.scenario("good.toml", "{ run = \"true\", on = \"a\" }");
    project.scenario("bad.toml", "{ run = \"true\", onn = \"a\" },\n{ kil = \"a\" }");
    let ran = project.run(&["run", "good.toml", "bad.toml"]);
    ran.expect(2)
        .complains("did you mean `on`?")
        .complains("did you mean `kill`?")
        .complains("in 1 file, nothing was run");
    assert!(!project.path().join(".netsplit").exists());
}

#[test]
fn what_is_typed_wrong_is_said_with_the_remedy() {
    let project = Project::new();
    project.run(&["run", "nowhere.toml"]).expect(2).complains("no file or folder `nowhere.toml`");
    project.write("empty/x.txt", "");
    project.run(&["run", "empty"]).expect(2).complains("no scenario in `empty`").complains("netsplit new");
    project
        .run(&["run", "-p", "docker", "empty"])
        .expect(2)
        .complains("no provider `docker` in this version");
    project.run(&["run", "-p", "namspace", "empty"]).expect(2).complains("did you mean `namespace`?");
    project.scenario("x.toml", "{ run = \"true\", on = \"a\" }");
    project
        .run(&["run", "x.toml", "--keep", "sometimes"])
        .expect(2)
        .complains("`never`, `failed` or `always`");
    project.run(&["run", "x.toml:99"]).expect(2).complains("no step begins on line 99");
    project.run(&["run", "x.toml", "-f", "other"]).expect(4).complains("no test matches");
    project.write("script.sh", "#!/bin/sh\n");
    project.run(&["run", "script.sh"]).expect(2).complains("`bed` verbs");
}

#[test]
fn what_can_never_be_right_is_refused_before_anything_runs() {
    let project = Project::new();
    project.scenario("x.toml", "{ run = \"true\", on = \"a\" }");
    for flag in ["--jobs", "--repeat", "--stop-after"] {
        project.run(&["run", "x.toml", flag, "0"]).expect(2).complains("0 is not in 1..");
    }
    project.run(&["new", "y.toml", "--hosts", "0"]).expect(2).complains("0 is not in 1..");
    project
        .run(&["run", "x.toml", "--junit", "nowhere/all.xml"])
        .expect(2)
        .complains("the folder of the JUnit file `nowhere/all.xml` is not there");
    project
        .run(&["run"])
        .expect(2)
        .complains("no file or folder `tests`")
        .complains("the setting `tests` names: `tests` (default)")
        .complains("netsplit run FILE")
        .complains("netsplit new ");
    assert!(!project.path().join(".netsplit").exists());
}

#[test]
fn folders_filters_lists_and_repeats() {
    let project = Project::new();
    project.scenario("tests/one.toml", "{ run = \"true\", on = \"a\" }");
    project.scenario("tests/deep/two.toml", "{ run = \"true\", on = \"a\" }");
    project.write("tests/part.toml", "hosts.n = 1\n");
    let listed = project.run(&["run", "--list"]);
    assert_eq!(
        listed.expect(0).out(),
        "two\tnamespace\ttests/deep/two.toml\none\tnamespace\ttests/one.toml\n"
    );
    assert_eq!(project.run(&["run", "--list", "-f", "-two"]).out(), "one\tnamespace\ttests/one.toml\n");
    project.run(&["run", "tests", "-f", "one", "--repeat", "3", "-j", "3"]).expect(0).says("3 passed");
}

#[test]
fn a_matrix_is_cases_with_names() {
    let project = Project::new();
    let text = "hosts.n = 1\nmatrix.color = [\"red\", \"green\"]\n[[test]]\nname = \"x\"\n\
                steps = [{ run = \"echo %{color}\", on = \"n\", stdout = \"red\" }]";
    project.write("m.toml", text);
    let ran = project.run(&["run", "m.toml", "-j", "2"]);
    ran.expect(1).says("m[color=red]").says("m[color=green]").says("wanted   red").says("said     green");
    ran.says("netsplit run m.toml -f");
    project.run(&["run", "m.toml", "-s", "color=red"]).expect(0);
}

#[test]
fn machines_read_json() {
    let project = Project::new();
    project.scenario("fails.toml", "{ run = \"false\", on = \"a\" }");
    let ran = project.run(&["run", "fails.toml", "--format", "json"]);
    let lines: Vec<serde_json::Value> =
        ran.expect(1).out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{}", ran.out());
    assert_eq!((&lines[0]["type"], &lines[0]["verdict"]), (&"run".into(), &"failed".into()));
    assert_eq!(lines[0]["reason"]["name"], "unexpected-exit");
    assert_eq!((&lines[1]["type"], &lines[1]["exit"]), (&"summary".into(), &1.into()));
}

#[test]
fn the_forge_reads_annotations() {
    let project = Project::new();
    project.scenario("fails.toml", "{ run = \"false\", on = \"a\" }");
    let output = project.command(&["run", "fails.toml"]).env("GITHUB_ACTIONS", "true").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("::error file=fails.toml,line=5,title=failed  fails::`false` on a exited 1"),
        "{text}"
    );
}

#[test]
fn the_directory_holds_everything_and_the_log_has_no_gaps() {
    let project = Project::new();
    project.scenario(
        "x.toml",
        "{ run = \"sh -c 'printf abc; printf err >&2'\", on = \"a\" },\n{ note = \"hello\" }",
    );
    project.run(&["run", "x.toml", "--seed", "7"]).expect(0);
    let dir = project.last();
    assert_eq!(fs::read(dir.join("hosts/a/sh.1.stdout")).unwrap(), b"abc");
    assert_eq!(fs::read(dir.join("hosts/a/sh.1.stderr")).unwrap(), b"err");
    assert!(dir.join("scenario/x.toml").is_file());
    let run: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("run.json")).unwrap()).unwrap();
    assert_eq!((&run["seed"], &run["settings"]["seed"][1]), (&7.into(), &"flag".into()));
    let events = project.events();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["n"], number, "{event}");
    }
    assert!(events.windows(2).all(|pair| pair[0]["t"].as_u64() <= pair[1]["t"].as_u64()), "time goes on");
    let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds.first(), Some(&"run.began"));
    assert_eq!(kinds.last(), Some(&"teardown.ended"));
    let at = |kind| kinds.iter().position(|known| *known == kind).unwrap();
    assert!(at("output") < at("process.ended"));
    assert!(at("verdict.given") < at("teardown.ended"), "the verdict stands before teardown");
    assert_eq!(fs::read_to_string(project.path().join(".netsplit/.gitignore")).unwrap(), "*\n");
}

#[test]
fn junit_keeps_failure_error_and_skipped_apart() {
    let project = Project::new();
    let three = "hosts.n = [\"a\"]\n[[test]]\nname = \"good & <odd>\"\nsteps = [{ run = \"true\", on = \"a\" }]\n\
                 [[test]]\nname = \"bad\"\nsteps = [{ run = \"printf 'a\\u001b[31mb\\n'; exit 1\", on = \"a\" }]\n\
                 [[test]]\nname = \"later\"\nsteps = [{ run = \"true\", on = \"a\" }]\n";
    project.write("three.toml", &three.replace("run = \"printf", "sh = \"printf"));
    project.scenario("infra.toml", "{ run = \"no-such-program\", on = \"a\" }");
    project.run(&["run", "three.toml", "infra.toml", "--junit", "all.xml"]).expect(1);
    let text = fs::read_to_string(project.path().join("all.xml")).unwrap();
    for part in [
        "<failure message=",
        "type=\"unexpected-exit\"",
        "<error message=",
        "type=\"infra: no-such-program\"",
        "<skipped message=\"`bad` failed before it\"",
        "good &amp; &lt;odd&gt;",
        "name=\"seed\"",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no control character reaches the file");
    check_with_schema(&project.path().join("all.xml"));
    assert!(project.last().join("junit.xml").is_file());
}

/// With a real validator where there is one.
#[expect(clippy::print_stdout, reason = "the reason of a skip")]
fn check_with_schema(file: &std::path::Path) {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/junit.xsd");
    match Command::new("xmllint").args(["--noout", "--schema", schema]).arg(file).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => println!("skipped: the schema needs `xmllint`: {error}"),
    }
}

#[test]
fn two_runs_at_once_do_not_touch_each_other() {
    let project = Project::new();
    let steps = "{ run = \"sh -c 'echo %{run} > /tmp/mine; sleep 0.5; cat /tmp/mine'\", on = \"a\", stdout = \"%{run}\" }";
    project.scenario("x.toml", steps);
    let both = [project.start(&["run", "x.toml"]), project.start(&["run", "x.toml"])];
    for one in both {
        one.end().0.expect(0);
    }
    let listed = project.run(&["runs"]);
    assert_eq!(listed.expect(0).out().lines().count(), 2, "{}", listed.out());
}

#[test]
fn cleanup_runs_always_and_decides_nothing() {
    let project = Project::new();
    let text = "hosts.n = [\"a\"]\ncleanup = [{ run = \"false\", on = \"a\" }]\n[[test]]\nname = \"x\"\n\
                steps = [{ run = \"true\", on = \"a\" }]\ncleanup = [{ run = \"touch /tmp/cleaned\", on = \"a\" }]\n\
                [[test]]\nname = \"y\"\nsteps = [{ run = \"ls /tmp/cleaned\", on = \"a\" }]\n";
    project.write("x.toml", text);
    project.run(&["run", "x.toml"]).expect(0).says("warning: cleanup: `false` on a exited 1");
}

#[test]
fn a_watch_ends_the_test_at_once() {
    let project = Project::new();
    let text = "hosts.n = [\"a\"]\nwatch.never = [\"panic\"]\n[[test]]\nname = \"x\"\n\
                steps = [{ sh = \"echo panic; sleep 100\", on = \"a\" }]\n";
    project.write("x.toml", text);
    let (ran, took) = project.start(&["run", "x.toml"]).end();
    ran.expect(1).says("[forbidden-line]").says("x.toml:2:");
    assert!(took.as_secs() < 30, "{took:?}");
}

/// However the scenario is named.
#[test]
fn commands_here_run_beside_their_scenario() {
    let project = Project::new();
    let steps = "{ run = \"./oracle\", on = \"here\", stdout = \"beside\" }";
    for folder in ["", "tests/", "tests/deep/"] {
        project.scenario(&format!("{folder}x.toml"), steps);
        let oracle = format!("{folder}oracle");
        project.write(&oracle, "#!/bin/sh\n[ -f x.toml ] && echo beside\n");
        fs::set_permissions(project.path().join(&oracle), fs::Permissions::from_mode(0o755)).unwrap();
        project.run(&["run", &format!("{folder}x.toml")]).expect(0);
        project.run(&["run", project.path().join(format!("{folder}x.toml")).to_str().unwrap()]).expect(0);
    }
}

/// However well all went without it.
#[test]
fn a_lost_host_is_no_passed_run() {
    let project = Project::new();
    let steps = "{ start = \"sleep 1000\", on = \"a\", env.NS_TEST_LOST = \"1\" },
        { run = \"sh -c 'until [ -e gone ]; do sleep 0.05; done'\", on = \"here\" }";
    project.scenario("lost.toml", steps);
    let started = project.start(&["run", "lost.toml"]);
    project.wait_for_event("here/sh.1");
    let process = left_behind("NS_TEST_LOST=1").first().and_then(|line| line.split(' ').next()?.parse().ok());
    kill_parent(process.expect("the process runs"));
    project.wait_for_event("\"host.lost\"");
    project.write("gone", "");
    started.end().0.expect(3).says("infra").says("host a was lost").says("[host-lost]");
    let verdict = project.verdict();
    assert_eq!((&verdict["verdict"], &verdict["tests"][0]["verdict"]), (&"infra".into(), &"infra".into()));
}

/// Kills the agent that started a process.
fn kill_parent(process: u32) {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
    assert!(Command::new("kill").args(["-KILL", parent]).status().unwrap().success());
}

#[test]
fn a_build_that_fails_is_no_failure_of_the_system() {
    let project = Project::new();
    let text = "hosts.n = [\"a\"]\ncommands.kvd = { run = \"./kvd\", build = \"sh -c 'echo no compiler >&2; exit 1'\" }\n\
                [[test]]\nname = \"x\"\nsteps = [{ run = \"kvd\", on = \"a\" }]\n";
    project.write("x.toml", text);
    project
        .run(&["run", "x.toml"])
        .expect(3)
        .says("[build-failed]")
        .says("exited 1")
        .says("saw      no compiler");
}

#[test]
fn every_deadline_scales_with_patience() {
    let project = Project::new();
    project.scenario("x.toml", "{ run = \"sleep 1\", on = \"a\", within = \"100ms\" }");
    project.run(&["run", "x.toml"]).expect(1).says("[command-timed-out]").says("100ms");
    project.run(&["run", "x.toml", "--patience", "100"]).expect(0);
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let project = Project::new();
    project.scenario("x.toml", "{ run = \"true\", on = \"a\" }");
    let mut command = project.command(&["run", "x.toml"]);
    let mut child = command.spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A test may pass without what it is about.
#[test]
fn a_process_that_fails_unseen_is_a_warning() {
    let project = Project::new();
    let text = "hosts.n = [\"a\", \"b\"]\n[[test]]\nname = \"x\"\nsteps = [\n\
                { start = \"sh -c 'echo why >&2; exit 1'\", on = \"n\", name = \"kvd\" },\n\
                { start = \"sh -c 'kill -9 $$'\", on = \"a\", name = \"killed\" },\n\
                { start = \"true\", on = \"a\" },\n{ start = \"sleep 100\", on = \"a\" },\n\
                { start = \"sleep 100\", on = \"b\" },\n{ kill = \"a/sleep\" },\n{ kill = \"b\" },\n\
                { start = \"false\", on = \"a\" },\n{ wait = \"false\", exit = 1 },\n\
                { run = \"false\", on = \"a\", exit = 1 },\n{ never = \"x\", on = \"a\", for = \"500ms\" },\n]\n";
    project.write("x.toml", text);
    let ran = project.run(&["run", "x.toml"]);
    ran.expect(0).says("warning: `kvd` on a, b exited 1 at ").says(" and nobody waited for it");
    ran.says("stderr  why").says("warning: `killed` on a was ended by signal KILL at ");
    let verdict = project.verdict();
    assert_eq!(verdict["warnings"].as_array().unwrap().len(), 2, "{verdict}");
    assert_eq!(
        (&verdict["verdict"], &verdict["warnings"][0]["name"]),
        (&"passed".into(), &"process-ended".into())
    );
}

#[test]
fn a_wait_on_hosts_says_what_ended_there() {
    let project = Project::new();
    let steps = "{ start = \"sh -c 'exit 3'\", on = \"a\" },\n\
                 { wait_for = \"ready\", on = \"a\", within = \"1s\" }";
    project.scenario("x.toml", steps);
    project.run(&["run", "x.toml"]).expect(1).says("[wait-timed-out]").says("saw      a/sh exited 3 at ");
}

#[test]
fn processes_are_expected_to_run_or_not() {
    let project = Project::new();
    let steps = |last: &str| {
        format!(
            "{{ start = \"sleep 100\", on = \"a\" }},\n{{ start = \"true\", on = \"a\" }},\n{{ wait = \"true\" }},\n\
             {{ expect = \"a/sleep\", runs = true }},\n{{ expect = \"true\", runs = false }},\n{last}"
        )
    };
    project.scenario("x.toml", &steps(""));
    project.run(&["run", "x.toml"]).expect(0);
    project.scenario("x.toml", &steps("{ expect = \"true\", runs = true }"));
    project.run(&["run", "x.toml"]).expect(1).says("`true` on a exited 0, and was to run");
    project.scenario("x.toml", &steps("{ expect = \"sleep\", runs = false }"));
    project.run(&["run", "x.toml"]).expect(1).says("`sleep` on a runs, and was to have ended");
}

#[test]
fn every_failed_test_is_told() {
    let project = Project::new();
    let test = |name: &str, step: &str| {
        format!("[[test]]\nname = \"{name}\"\nkeep_going = true\nsteps = [{{ {step}, on = \"a\" }}]\n")
    };
    let tests = [
        test("one", "sh = \"exit 3\""),
        test("two", "run = \"true\""),
        test("three", "run = \"no-such-program\""),
        test("four", "run = \"echo x\", stdout = \"y\""),
    ];
    project.write("x.toml", &format!("hosts.n = [\"a\"]\n{}", tests.concat()));
    let ran = project.run(&["run", "x.toml"]);
    for text in [ran.expect(1).out(), project.run(&["runs", "last"]).out()] {
        let lines: Vec<_> = text.lines().collect();
        for (name, reason, place) in [
            ("failed   x › one ", "on a exited 3 ", "  --> x.toml:5:"),
            ("infra    x › three ", "no program `no-such-program` on a ", "  --> x.toml:13:"),
            ("failed   x › four ", "stdout of `echo x` ", "  --> x.toml:17:"),
        ] {
            let at = lines.iter().position(|line| line.starts_with(name));
            let at = at.unwrap_or_else(|| panic!("no `{name}` in\n{text}"));
            assert!(lines[at + 1].contains(reason) && lines[at + 2].starts_with(place), "{name}\n{text}");
        }
    }
    let (verdict, reason) = (project.verdict(), "unexpected-exit");
    assert_eq!((&verdict["reason"]["name"], &verdict["reason"]["line"]), (&reason.into(), &5.into()));
    let annotated = project.run(&["run", "x.toml", "--format", "github"]).out();
    assert_eq!(annotated.matches("::error file=x.toml,line=").count(), 3, "{annotated}");
}

/// Wherever the scenario lies from here, its own files lie beside it.
#[test]
fn files_are_found_beside_the_scenario() {
    let text = "hosts.n = [\"a\"]\ncommands.kvd = { run = \"./kvd\", build = \"cp kvd.sh kvd\" }\n[[test]]\nname = \"x\"\n\
                steps = [\n{ put = \"kv.conf\", on = \"a\", to = \"/etc/kv.conf\" },\n\
                { run = \"cat /etc/kv.conf\", on = \"a\", stdout = \"peers\" },\n\
                { run = \"kvd\", on = \"a\", stdout = \"hello\" },\n\
                { run = \"hostname\", on = \"here\" },\n{ run = \"cat kv.conf\", on = \"here\", stdout = \"peers\" },\n\
                { run = \"./kvd.sh\", on = \"here\", stdout = \"hello\" },\n\
                { run = \"./kvd.sh\", on = \"here\", cwd = \"sub\", stdout = \"hello\" },\n]\n";
    for folder in ["", "t/"] {
        let project = Project::new();
        let name = |name: &str| format!("{folder}{name}");
        project.write(&name("x.toml"), text).write(&name("kv.conf"), "peers\n").write(&name("sub/x"), "");
        project.write(&name("kvd.sh"), "#!/bin/sh\necho hello\n");
        let program = project.path().join(name("kvd.sh"));
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        project.run(&["run", &name("x.toml")]).expect(0);
    }
}

#[test]
fn a_file_to_put_that_is_not_there_is_a_mistake() {
    let project = Project::new();
    project.scenario("t/x.toml", "{ put = \"kv.conf\", on = \"a\", to = \"/etc/kv.conf\" }");
    project.run(&["lint", "t/x.toml"]).expect(2).complains("the file `kv.conf` is not there");
    project.scenario(
        "made.toml",
        "{ sh = \"echo > made\", on = \"here\" },\n{ put = \"made\", on = \"a\", to = \"/made\" }",
    );
    project.run(&["run", "made.toml"]).expect(0);
}
