//! P8: what a command sees of the environment, and who decides: the command over nested tests over the run over the host;
//! nothing of the runner's own leaks in. Templates are filled in or refused before anything starts. (A04, A05, A09, and
//! defects 6, 7 and 12 of testbus)

use conformance::{fails, log};
use netsplit::Reason;
use netsplit::prelude::*;

#[netsplit::test(hosts = 1)]
async fn the_nearest_scope_wins(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let say =
        async || a.run("printenv COLOR").exits(Exit::Any).await.map(|said| said.stdout().trim().to_owned());
    assert_eq!(say().await?, "");
    a.set_env("COLOR", "host");
    assert_eq!(say().await?, "host");
    bed.set_env("COLOR", "run");
    assert_eq!(say().await?, "run");
    {
        let _outer = bed.nested("outer");
        assert_eq!(say().await?, "run");
        bed.set_env("COLOR", "outer");
        {
            let _inner = bed.nested("inner");
            bed.set_env("COLOR", "inner");
            assert_eq!(say().await?, "inner");
            a.run("printenv COLOR").env("COLOR", "command").await?.expect_stdout("command")?;
            a.run("printenv COLOR").env_remove("COLOR").exits(1).await?;
            bed.remove_env("COLOR");
            assert_eq!(say().await?, "", "unset hides what is outside");
        }
        assert_eq!(say().await?, "outer");
    }
    assert_eq!(say().await?, "run");
    bed.remove_env("COLOR");
    assert_eq!(say().await?, "");
    Ok(())
}

#[netsplit::test(hosts = 2)]
async fn the_effective_view_says_where_each_value_comes_from(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    a.set_env("ONE", "1");
    bed.set_env("TWO", "2");
    let _nested = bed.nested("the cluster forms");
    bed.set_env("THREE", "3");
    bed.remove_env("ONE");
    let view = a.environment();
    let origin = |name: &str| {
        view.iter().find(|(known, ..)| known == name).map(|(_, value, from)| (&**value, &**from))
    };
    assert_eq!(origin("ONE"), None);
    assert_eq!(origin("TWO"), Some(("2", "run")));
    assert_eq!(origin("THREE"), Some(("3", "the cluster forms")));
    assert_eq!(origin("NETSPLIT_HOST"), Some(("a", "netsplit")));
    assert!(b.environment().iter().all(|(name, ..)| name != "ONE"), "another host's own");
    // What is shown is what is there.
    let shown: Vec<_> = view.iter().map(|(name, value, _)| format!("{name}={value}")).collect();
    let seen = a.run("env").read().await?;
    assert!(shown.iter().all(|variable| seen.lines().any(|line| line == variable)), "{shown:?}\n{seen}");
    Ok(())
}

#[netsplit::test(hosts(server = 1, client = 2))]
async fn a_process_knows_where_it_runs(bed: Testbed) -> netsplit::Result {
    for host in bed.hosts() {
        let (name, role, index) = (host.name(), host.role(), host.index());
        let (run, seed) = (bed.run_id(), bed.seed());
        let variables = [
            ("HOST", name.to_string()),
            ("ROLE", role.to_string()),
            ("INDEX", index.to_string()),
            ("ADDRESS", host.address()),
            ("ADDRESS6", host.address6()),
            ("RUN", run.to_string()),
            ("SEED", seed.to_string()),
        ];
        for (name, value) in variables {
            host.run(["printenv", &format!("NETSPLIT_{name}")]).await?.expect_stdout(&value)?;
        }
        host.run("hostname").await?.expect_stdout(name.as_str())?;
        let words = ["echo", "%{host} %{role} %{index} %{count} %{address} %{address6} %{run} %{seed}"];
        let count = if role.as_str() == "client" { 2 } else { 1 };
        let wanted =
            format!("{name} {role} {index} {count} {} {} {run} {seed}", host.address(), host.address6());
        host.run(words).await?.expect_stdout(&wanted)?;
    }
    assert_eq!(bed.role("client")?.len(), 2);
    Ok(())
}

/// PATH, HOME, USER, LOGNAME, and ours: nothing else, whatever the runner has.
#[netsplit::test(hosts = 1)]
async fn nothing_of_the_runners_environment_leaks(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let seen = a.run("env").read().await?;
    let own = ["PATH", "HOME", "USER", "LOGNAME"];
    for line in seen.lines() {
        let name = line.split('=').next().unwrap_or_default();
        assert!(own.contains(&name) || name.starts_with("NETSPLIT_"), "{line}");
        assert!(!["NETSPLIT_DIR", "NETSPLIT_BECOME", "NETSPLIT_KEEP"].contains(&name), "{line}");
    }
    assert!(seen.contains("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), "{seen}");
    a.run("env").env("PATH", "/usr/bin").read().await?;
    let seen = a.run("env").env("PATH", "/bin:/usr/bin").env("HOME", "/srv").read().await?;
    for line in ["PATH=/bin:/usr/bin", "HOME=/srv"] {
        assert!(seen.lines().any(|seen| seen == line), "{seen}");
    }
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn two_hundred_variables_with_anything_in_them(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for number in 0..200 {
        bed.set_env(format!("NOISE_{number}"), format!("{number} {}", "x".repeat(number)));
    }
    bed.set_env("ODD", "a=b 'c' \"d\" $HOME `e` \\ \t ü %{host} %s\nsecond line");
    let seen = a.run("env -0").read().await?;
    let all: Vec<_> = seen.split('\0').collect();
    for number in 0..200 {
        assert!(all.contains(&&*format!("NOISE_{number}={number} {}", "x".repeat(number))), "{number}");
    }
    assert!(all.contains(&"ODD=a=b 'c' \"d\" $HOME `e` \\ \t ü %{host} %s\nsecond line"), "{all:?}");
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn templates_are_filled_in(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    bed.set_var("port", "7000");
    bed.set_var("words", "two words; $HOME");
    assert_eq!(bed.var("port").as_deref(), Some("7000"));
    a.run("echo %{host}:%{port} 100%% 5% %s %d%c").await?.expect_stdout("a:7000 100% 5% %s %d%c")?;
    // A value is one word, and never read as anything.
    a.run(["printf", "%s|", "%{words}", "-%{words}-"])
        .await?
        .expect_stdout("two words; $HOME|-two words; $HOME-|")?;
    a.run("printf %s. %{words}").await?.expect_stdout("two words; $HOME.")?;
    a.run(["echo", "date +%Y | wc -c; %{port}"]).await?.expect_stdout("date +%Y | wc -c; 7000")
}

#[netsplit::test(hosts = 1)]
async fn a_template_that_cannot_be_filled_in_starts_nothing(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let text = fails(a.run("kvd --listen %{adress}:7000").await, Reason::UnsetVariable);
    assert!(text.contains("`%{adress}` is not set, column 1"), "{text}");
    assert!(text.contains("on a; nothing was started") && text.contains("fix: `%{address}`"), "{text}");
    let text = fails(a.start(sh("echo ü %{nothing_like_it}")).await, Reason::UnsetVariable);
    assert!(text.contains("column 8") && text.contains("set are: address"), "{text}");
    let text = fails(a.run(["curl", "-w", "%{http_code}"]).await, Reason::UnsetVariable);
    assert!(text.contains("try: `%%{http_code}`"), "{text}");
    for bad in ["echo %{host", "echo %{}", "echo %{a b}"] {
        fails(a.run(["sh", "-c", bad]).await, Reason::UnsetVariable);
    }
    assert_eq!(log::processes(&bed), 0);
    Ok(())
}

/// A command that is a netsplit test binary itself must not become what its starter is.
#[netsplit::test(hosts = 1)]
async fn the_role_of_our_own_processes_is_not_inherited(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.run("printenv NETSPLIT_BECOME").exits(1).await?;
    a.run("printenv NETSPLIT_BECOME").env("NETSPLIT_BECOME", "keeper:1").exits(1).await.map(drop)
}

#[netsplit::test(hosts = 1, needs = ["pty"])]
async fn nor_by_what_has_a_terminal(bed: Testbed) -> netsplit::Result {
    bed.host("a")?.run("printenv NETSPLIT_BECOME").pty().exits(1).await.map(drop)
}

#[netsplit::test(hosts = 1)]
async fn what_an_environment_cannot_hold_is_refused(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for (name, value, says) in [
        ("", "x", "an empty name"),
        ("A=B", "x", "`A=B`"),
        ("A\0", "x", "in its name"),
        ("A", "\0", "in its value"),
    ] {
        let text = fails(a.run("true").env(name, value).await, Reason::BadValue);
        assert!(text.contains(says) && text.contains("set for the command"), "{text}");
        a.set_env(name, value);
        let text = fails(a.start("true").await.map(drop), Reason::BadValue);
        assert!(text.contains(says) && text.contains("set for the host a"), "{text}");
        a.remove_env(name);
    }
    a.set_env("KEPT", "%{host} = literal");
    a.run("printenv KEPT").await?.expect_stdout("%{host} = literal")?;
    a.remove_env("KEPT");
    a.run("printenv KEPT").exits(1).await.map(drop)
}
