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
    failed.says("repeat   netsplit run fails.toml --seed").says("or       netsplit run fails.toml:5 --seed ");
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
    skipped.expect(4).says("skipped").says("needs `clock`").says("evidence ");
    assert!(!skipped.out().contains("inside "), "no host was there");
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
    let ran = project.run(&["run", "m.toml", "-j", "2", "-n", "n=1", "--seed", "7"]);
    ran.expect(1).says("m[color=red]").says("m[color=green]").says("wanted   red").says("said     green");
    let flags = "-n n=1 -f 'm[color=green]' --seed 7";
    ran.says(&format!("repeat   netsplit run m.toml {flags}\n"));
    ran.says(&format!("or       netsplit run m.toml:5 {flags}   stops just before it\n"));
    ran.says(&format!("inside   netsplit run m.toml {flags} --keep failed, then netsplit enter last HOST\n"));
    project.run(&["run", "m.toml", "-f", "m[color=green]", "--list"]).expect(0).says("m[color=green]");
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
    let short = project.run(&["run", "fails.toml", "--json"]);
    assert_eq!(short.expect(1).out().lines().count(), 2, "{}", short.out());
}

#[test]
fn a_failure_says_who_called_the_procedure_and_what_else_failed() {
    let project = Project::new();
    let text = "hosts.n = [\"a\", \"b\"]\n[procedures.outer]\nsteps = [{ do = \"inner\" }]\n\
                [procedures.inner]\nsteps = [{ run = \"false\", on = \"a\" }]\n\
                [[test]]\nname = \"calls\"\nkeep_going = true\nsteps = [{ do = \"outer\" }]\n\
                [[test]]\nname = \"many\"\nsteps = [{ together = [\n{ run = \"true\", on = \"a\" },\n\
                { run = \"false\", on = \"a\" },\n{ run = \"sh -c 'exit 4'\", on = \"b\" },\n] }]\n";
    project.write("p.toml", text);
    let ran = project.run(&["run", "p.toml"]);
    ran.expect(1).says("done by `inner` in p.toml:3, done by `outer` in p.toml:9\n");
    ran.says("`false` on a exited 1").says("also failed  p.toml:15: `sh -c 'exit 4'` on b exited 4\n");
    assert!(!ran.out().contains("p.toml:13"), "a step that passed: {}", ran.out());
    let text = "hosts.n = [\"a\", \"b\"]\n[[test]]\nname = \"t\"\nsteps = [{ start = \"/no-%{host}\", name = \"x\", on = \"n\" }]\n";
    project.write("s.toml", text);
    project
        .run(&["run", "s.toml"])
        .expect(1)
        .says("`/no-a` on a could not start")
        .says("also failed  `/no-b` on b could not start: no file `/no-b`\n");
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

#[test]
fn junit_gives_each_test_what_came_while_it_went_on() {
    let project = Project::new();
    let two = "hosts.n = [\"a\"]\n\
               [[test]]\nname = \"first\"\nkeep_going = true\nsteps = [\n\
               { run = \"mkfifo /go\", on = \"a\" },\n\
               { start = [\"sh\", \"-c\", \"echo one; cat /go; echo two; sleep 60\"], on = \"a\", ready = \"one\" },\n\
               { run = \"false\", on = \"a\" }]\n\
               [[test]]\nname = \"second\"\nsteps = [\n\
               { run = \"tee /go\", stdin = \"x\\n\", on = \"a\" },\n\
               { wait_for = \"two\", on = \"a\" },\n\
               { run = \"false\", on = \"a\" }]\n";
    project.write("two.toml", two);
    project.run(&["run", "two.toml"]).expect(1);
    let text = fs::read_to_string(project.last().join("junit.xml")).unwrap();
    let outputs: Vec<_> =
        text.split("<system-out>").skip(1).map(|part| part.split('<').next().unwrap()).collect();
    let lines: Vec<Vec<_>> = outputs.iter().map(|output| output.lines().collect()).collect();
    assert_eq!(
        lines,
        [vec!["── a/sh.stdout", "one"], vec!["── a/sh.stdout", "x", "two", "── a/tee.stdout", "x"]],
        "{text}"
    );
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
    for (run, code) in [("ls /tmp/cleaned", 0), ("false", 1)] {
        project.write(
            "m.toml",
            &format!("matrix.v = [1, 2, 3]\nenv.V = \"%{{v}}\"\n{}", text.replace("ls /tmp/cleaned", run)),
        );
        let said = project.run(&["run", "m.toml", "-q"]).expect(code).out();
        assert_eq!(said.matches("warning: cleanup: ").count(), 1, "of all cases once: {said}");
    }
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

/// Both come in one go when the wait ends.
#[test]
fn a_line_that_was_seen_has_its_own_time() {
    let project = Project::new();
    let steps = "{ start = [\"sh\", \"-c\", \"echo hi; sleep 0.5; echo almost\"], on = \"a\", name = \"x\" },\n\
                 { wait_for = \"never\", on = \"a\", within = \"1s\" }";
    project.scenario("x.toml", steps);
    let text = project.run(&["run", "x.toml"]).expect(1).out();
    let time = |said: &str| -> f64 {
        let line = text.lines().find(|line| line.ends_with(&format!("a/x  stdout  {said}"))).unwrap();
        let time = line.trim_start_matches("saw").split_whitespace().next().unwrap();
        time.trim_end_matches('s').parse().unwrap()
    };
    assert!(time("almost") - time("hi") > 0.3, "{text}");
}

#[test]
fn of_long_complaints_the_first_lines_are_shown_too() {
    let project = Project::new();
    project.scenario("x.toml", "{ sh = \"seq 1 100 >&2; exit 1\", on = \"a\" }");
    let ran = project.run(&["run", "x.toml"]);
    ran.expect(1).says("stderr  1\n").says("stderr  2\n").says("stderr  96\n").says("stderr  100\n");
    ran.says("all of it: netsplit logs ").says(" a/sh\n");
    project.scenario("y.toml", "{ sh = \"seq 1 6 >&2; exit 1\", on = \"a\" }");
    let short = project.run(&["run", "y.toml"]).expect(1).out();
    assert!(short.matches("  stderr  ").count() == 6 && !short.contains("all of it"), "{short}");
}

#[test]
fn who_failed_without_a_word_is_said_to() {
    let project = Project::new();
    let silent = "saw      it wrote nothing\n";
    for step in ["run = \"false\", on = \"a\"", "run = \"false\", on = \"here\""] {
        project.scenario("x.toml", &format!("{{ {step} }}"));
        project.run(&["run", "x.toml"]).expect(1).says(silent);
    }
    project.scenario("x.toml", "{ sh = \"echo a word; exit 1\", on = \"here\" }");
    let said = project.run(&["run", "x.toml"]).expect(1).says("saw      a word\n").out();
    assert!(!said.contains("wrote nothing"), "{said}");
}

#[test]
fn what_is_long_is_shown_in_part() {
    let project = Project::new();
    project.scenario("x.toml", "{ run = \"seq 1 200\", on = \"a\", stdout = \"5\" }");
    let ran = project.run(&["run", "x.toml"]);
    ran.expect(1).says("on a differs in line 1 of 200").says("\n         … 196 more lines\n");
    project.scenario("y.toml", "{ run = \"seq 1 200\", on = \"a\", stdout.has = \"x\" }");
    project.run(&["run", "y.toml"]).expect(1).says("\n         … 192 more lines\n         197\n");
    project.scenario("z.toml", "{ run = \"echo no\", on = \"a\", json.a = 3 }");
    project.run(&["run", "z.toml"]).expect(1).says("is not JSON: line 1, column 2").says("wanted   JSON\n");
    let many =
        "hosts.n = 9\n[[test]]\nname = \"x\"\nsteps = [{ run = \"echo a\", on = \"n\", stdout = \"b\" }]\n";
    project.write("many.toml", many);
    project.run(&["run", "many.toml"]).expect(1).says("on n0, n1, n2, n3, n4, n5 and 3 more differs");
}

#[test]
fn a_paused_host_takes_no_longer_than_the_deadline() {
    let project = Project::new();
    let steps = "{ pause = \"a\" },\n{ run = \"touch /tmp/late\", on = \"a\", within = \"1s\" }";
    project.scenario("x.toml", steps);
    let (ran, took) = project.start(&["run", "x.toml", "--keep", "failed"]).end();
    ran.expect(1).says("`touch /tmp/late` on a had not started within 1s").says("because a is paused\n");
    ran.says("fix: resume a first\n");
    assert!(took.as_secs() < 8, "{took:?}");
    project.run(&["clean"]).expect(0);
    project.scenario("y.toml", "{ pause = \"a\" },\n{ wait_for = \"x\", on = \"a\", within = \"100ms\" }");
    project.run(&["run", "y.toml"]).expect(1).says("because a is paused\n");
}

#[test]
fn what_is_given_up_never_starts() {
    let project = Project::new();
    let text = "hosts.n = [\"a\"]\n[[test]]\nname = \"x\"\nkeep_going = true\nsteps = [\n{ pause = \"a\", for = \"2s\" },\n\
                { run = \"sleep 100\", on = \"a\", within = \"1s\" },\n]\n\
                [[test]]\nname = \"y\"\nsteps = [\n{ sleep = \"2s\", why = \"it goes on meanwhile\" },\n\
                { run = \"pgrep -x sleep\", on = \"a\", exit = 1 },\n]\n";
    project.write("x.toml", text);
    project.run(&["run", "x.toml"]).expect(1);
    assert_eq!(project.verdict()["tests"][1]["verdict"], "passed");
}

#[test]
fn remedies_are_words_of_both_languages() {
    let project = Project::new();
    project.scenario("slow.toml", "{ run = \"sleep 9\", on = \"a\", within = \"100ms\" }");
    project.run(&["run", "slow.toml"]).expect(1).says("try: a longer `within`\n");
    project.scenario("down.toml", "{ kill = \"a\" },\n{ run = \"true\", on = \"a\" }");
    project.run(&["run", "down.toml"]).expect(1).says("fix: restart a first\n");
}

#[test]
fn a_program_that_holds_its_output_back_is_suspected() {
    let project = Project::new();
    let wait = "{ wait_for = \"x\", on = \"a\", within = \"200ms\" }";
    project.scenario("held.toml", &format!("{{ start = \"sleep 100\", on = \"a\" }},\n{wait}"));
    project.run(&["run", "held.toml"]).expect(1).says("try: a `pty`: programs often hold back");
    project.scenario("none.toml", &format!("{{ run = \"true\", on = \"a\" }},\n{wait}"));
    let none = project.run(&["run", "none.toml"]).expect(1).out();
    assert!(!none.contains("pty"), "{none}");
}

#[test]
fn what_a_later_step_would_fetch_is_fetched_after_a_failure() {
    let project = Project::new();
    let steps = "{ sh = \"echo kept > /var/order\", on = \"a\" },\n{ run = \"false\", on = \"a\" },\n\
                 { run = \"touch /var/after\", on = \"a\" },\n{ get = \"/var/order\", on = \"a\", to = \"order\" },\n\
                 { get = \"/var/after\", on = \"a\", to = \"after\" }";
    project.scenario("x.toml", steps);
    project.run(&["run", "x.toml"]).expect(1).says("`false` on a exited 1");
    let fetched = project.last().join("fetched");
    assert_eq!(fs::read_to_string(fetched.join("order")).unwrap(), "kept\n");
    assert!(!fetched.join("after").exists(), "other steps do not run");
    assert_eq!(project.verdict()["warnings"].as_array().unwrap().len(), 0);
}

#[test]
fn a_value_that_differs_from_host_to_host_is_told_apart_from_none() {
    let project = Project::new();
    let text = "hosts.n = [\"a\", \"b\"]\n[[test]]\nname = \"x\"\nsteps = [\n\
                { run = \"hostname\", on = \"n\", save.h = \"stdout\" },\n{ note = \"it is %{h}\" },\n]\n";
    project.write("x.toml", text);
    let ran = project.run(&["run", "x.toml"]);
    ran.expect(1).says("`%{h}` is not one value: it is `a` on a, `b` on b").says("[unset-variable]");
}

#[test]
fn a_test_that_takes_too_long_says_where_it_was() {
    let project = Project::new();
    let text = "hosts.n = [\"a\"]\n[[test]]\nname = \"x\"\nwithin = \"300ms\"\nsteps = [\n\
                { run = \"true\", on = \"n\" },\n{ wait_for = \"zzz\", within = \"10s\" },\n]\n\
                cleanup = [{ note = \"cleaned up\" }]\n";
    project.write("x.toml", text);
    let ran = project.run(&["run", "x.toml"]);
    ran.expect(1).says("it was still running after 300ms, in step 2 of 2: wait_for `zzz`").says("x.toml:4:1");
    project.write("y.toml", &format!("within = \"300ms\"\n{}", text.replace("300ms", "1m")));
    project.run(&["run", "y.toml"]).expect(1).says("in step 2 of 2: wait_for `zzz`").says("y.toml:1:1");
    let noted = project.events().iter().filter(|event| event["text"] == "cleaned up").count();
    assert_eq!(noted, 1, "the cleanup of the open test runs too");
}

#[test]
fn the_table_says_each_thing_once() {
    let project = Project::new();
    let name = "a name that is much longer than the column in which it stands, to its end";
    let text = format!(
        "hosts.n = [\"a\"]\n[[test]]\nname = \"{name}\"\nsteps = [\n{{ run = \"true\", on = \"a\" }},\n\
         {{ run = \"false\", on = \"a\" }},\n{{ run = \"true\", on = \"a\" }},\n]\n\
         [[test]]\nname = \"later\"\nsteps = [{{ run = \"true\", on = \"a\" }}]\n"
    );
    project.write("x.toml", &text);
    let ran = project.run(&["run", "x.toml"]);
    ran.expect(1).says("  a name that is mu…ands, to its end step 2 of 3   failed\n");
    ran.says(&format!("  later{}skipped: `{name}` failed before it\n", " ".repeat(30)));
}

#[test]
fn quiet_says_nothing_of_what_passed() {
    let project = Project::new();
    project.scenario("x.toml", "{ run = \"true\", on = \"a\" }");
    assert_eq!(project.run(&["run", "-q", "x.toml"]).expect(0).out(), "");
    project
        .run(&["run", "x.toml"])
        .expect(0)
        .says("x  namespace · 1 host · seed ")
        .says("1 step, nothing left");
    project.run(&["lint", "x.toml"]).expect(0).says(" · 1 host · ");
    project.run(&["clean", "--dry-run"]).expect(0).complains("nothing to clean");
    project.run(&["clean", "--all"]).expect(0).complains("0 testbeds ended, 2 runs removed");
}

#[test]
fn slips_in_the_environment_are_told() {
    let project = Project::new();
    project.scenario("x.toml", "{ run = \"true\", on = \"a\" }");
    let with = |name: &str, value: &str| {
        let output = project.command(&["run", "x.toml"]).env(name, value).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = with("NETSPLIT_REQUIRE", "user");
    assert!(said.starts_with("error: no provider or capability `user`; did you mean `users`?"), "{said}");
    assert_eq!(code, Some(2));
    let (code, said) = with("NETSPLIT_KEEPP", "always");
    assert!(said.starts_with("warning: no setting is called NETSPLIT_KEEPP; did you mean"), "{said}");
    assert_eq!(code, Some(0));
    assert_eq!(with("NETSPLIT_ROLE", "node"), (Some(0), String::new()));
}

#[test]
fn a_cleanup_that_is_cut_off_hides_no_failure() {
    let project = Project::new();
    let text = "within = \"2s\"\nhosts.n = [\"a\"]\n[procedures.both]\nsteps = [\n\
                { run = \"false\", on = \"a\" },\n{ get = \"/etc/hostname\", on = \"a\" },\n]\n\
                [[test]]\nname = \"x\"\nsteps = [{ do = \"both\" }]\n\
                cleanup = [{ run = \"sleep 100\", on = \"a\" }]\n";
    project.write("x.toml", text);
    project.run(&["run", "x.toml"]).expect(1).says("`false` on a exited 1").says("[unexpected-exit]");
    let sleeps = project.events().iter().filter(|event| event["argv"][0] == "sleep").count();
    assert_eq!(sleeps, 1, "what was cut off is not begun again");
    assert!(
        project.last().join("fetched").exists() || project.last().join("hosts/a/files/etc/hostname").exists()
    );
}
