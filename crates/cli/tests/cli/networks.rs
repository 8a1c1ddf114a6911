//! Networks and routers in scenarios: who reaches whom, what is shown of them, and what needs them.

use crate::support::Project;

/// Two behind a router of some kind, and one outside; each step is one of the only test.
fn scenario(project: &Project, head: &str, steps: &[&str]) {
    let hosts = "hosts.client = [\"c1\", \"c2\"]\nhosts.server = 1\n\
                 networks.home = \"client\"\nnetworks.net = \"server\"\n";
    let steps = steps.join(",\n");
    project.write("x.toml", &format!("{hosts}{head}\n[[test]]\nname = \"t\"\nsteps = [\n{steps}\n]\n"));
}

/// Whether packets come back from `to` when `from` asks; nothing listens, and that is said at once.
fn heard(from: &str, to: &str) -> String {
    format!(
        r#"{{ run = "timeout 5 bash -c '</dev/tcp/{to}/9'", on = "{from}", exit = 1, stderr.has = "refused" }}"#
    )
}

/// Nothing comes back.
fn unheard(from: &str, to: &str) -> String {
    format!(r#"{{ run = "timeout 0.3 bash -c '</dev/tcp/{to}/9'", on = "{from}", exit = 124 }}"#)
}

#[test]
fn a_router_is_between_networks_and_faults_name_it() {
    let project = Project::new();
    let out = heard("client", "10.1.0.3");
    let (shut, cut) = (unheard("server", "10.1.255.1"), r#"{ cut = "gw to server", as = "cut" }"#);
    let steps: &[&str] = &[
        &out,
        &heard("c1", "c2.home"),
        &shut,
        cut,
        &unheard("c1", "10.1.0.3"),
        r#"{ heal = "cut" }"#,
        &out,
        r#"{ isolate = "gw", control = true }"#,
        &heard("c2", "c1"),
        &unheard("c2", "10.1.0.3"),
        r#"{ heal = "all" }"#,
        r#"{ regions = { sydney = "gw", sao-paulo = "server" } }"#,
    ];
    let far = unheard("c1", "10.1.0.3");
    let steps = [steps, &[far.as_str(), out.as_str()]].concat();
    scenario(&project, r#"routers.gw = { inside = "home", outside = "net", kind = "home" }"#, &steps);
    let ran = project.run(&["run", "x.toml"]);
    ran.expect(0).says("server 10.1.0.3").says("cut gw to server ").says("3 faults, nothing left behind");
}

#[test]
fn a_host_on_two_networks_joins_them_and_without_one_there_is_no_way() {
    let project = Project::new();
    let out = heard("c1", "server");
    scenario(&project, "hosts.between = 1\nnetworks.third = \"between,server\"", &[&out]);
    project.run(&["run", "x.toml"]).expect(1).says("Network is unreachable");
    scenario(&project, "hosts.between = 1", &[&out]);
    let ran = project.run(&["run", "x.toml"]);
    ran.expect(2).complains("the host `between` is on no network");
    let steps = [out.as_str(), r#"{ cut = "between to server" }"#, &unheard("c1", "server")];
    let text = |keys: &str| {
        let steps = steps.join(",\n");
        format!("{keys}\n[[test]]\nname = \"t\"\nsteps = [\n{steps}\n]\n")
    };
    let keys = "hosts.c1 = 1\nhosts.server = 1\nhosts.between = 1\n\
                networks.home = \"c1,between\"\nnetworks.net = \"server,between\"";
    project.write("x.toml", &text(keys));
    project.run(&["run", "x.toml"]).expect(0).says("1 fault, nothing left behind");
}

#[test]
fn networks_are_what_a_scenario_needs() {
    let project = Project::new();
    scenario(&project, "", &[&heard("c1", "c2")]);
    project.run(&["lint", "x.toml"]).expect(0).says("3 hosts · needs ").says("network (line 3)");
    project.write("parts/stop.toml", "procedures.stop.steps = [{ kill = \"all\" }]\n");
    let text =
        "hosts.n = 1\ninclude = \"parts/stop.toml\"\n[[test]]\nname = \"t\"\nsteps = [{ do = \"stop\" }]\n";
    project.write("y.toml", text).run(&["lint", "y.toml"]).expect(0).says("needs kill (parts/stop.toml:1)\n");
    let mut command = project.command(&["run", "x.toml"]);
    let output = command.env("NETSPLIT_NETWORK_MODEL", "kernel").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("needs `network` (`networks` does)"), "{said}");
}
