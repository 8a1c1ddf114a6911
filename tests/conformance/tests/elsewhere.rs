//! `elsewhere`, which the harness leaves out, runs where `NETSPLIT_PROVIDER` says when it is asked for.

use std::fs;
use std::process::{Command, Output};

use conformance::scratch;
use netsplit::model::{Verdict, VerdictFile};
use netsplit::prelude::*;

#[netsplit::test(hosts = 1)]
async fn it(bed: Testbed) -> netsplit::Result {
    bed.host("a")?.run("hostname").await?.expect_stdout("a")
}

/// Asks for it in a child; gives what it said and left.
fn ask(provider: Option<&str>) -> (Output, Option<VerdictFile>) {
    let folder = scratch();
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["it::elsewhere", "--exact", "--ignored"]).env("NETSPLIT_DIR", folder.path());
    command.env_remove("NETSPLIT_PROVIDER").envs(provider.map(|provider| ("NETSPLIT_PROVIDER", provider)));
    let output = command.output().expect("a child");
    let verdict = fs::read_to_string(folder.path().join("last/verdict.json")).ok();
    (output, verdict.map(|text| serde_json::from_str(&text).expect("a verdict")))
}

#[test]
fn it_runs_where_it_is_told() {
    let (output, verdict) = ask(Some("namespace"));
    let verdict = verdict.expect("a verdict");
    assert_eq!(
        (verdict.verdict, &*verdict.provider, &*verdict.test),
        (Verdict::Passed, "namespace", "it::elsewhere")
    );
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
fn nobody_is_told_that_it_ran_nowhere() {
    for (provider, wanted) in [(None, "it says nothing"), (Some("namspace"), "did you mean `namespace`?")] {
        let (output, verdict) = ask(provider);
        let said = String::from_utf8_lossy(&output.stdout);
        let said = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success() && verdict.is_none() && said.contains(wanted), "{said}");
    }
}
