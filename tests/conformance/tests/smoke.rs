//! x
use netsplit::prelude::*;

#[netsplit::program]
async fn hello(machine: Machine, args: Vec<String>) {
    println!("hello from {} {:?}", machine.name(), args);
}

#[netsplit::test(hosts = 3)]
async fn smoke(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.run("true").await?;
    a.run("echo %{host} %{address}").await?.expect_stdout("a 10.0.0.1")?;
    let p = a.start(sh("echo one; sleep 0.1; echo two >&2; exit 3")).await?;
    let line = p.wait_for("t(w)o").await?;
    assert_eq!(line.get(1), Some("w"));
    println!("{:?}", p.wait().await?);
    a.run(hello).args(["x", "y"]).await?.expect_stdout("hello from a [\"x\", \"y\"]")?;
    a.write("/tmp/x", "hi").await?;
    a.copy_to(&bed.host("b")?, "/tmp/x").await?;
    bed.host("b")?.run("cat /tmp/x").await?.expect_stdout("hi")?;
    println!("{:?}", bed.host("b")?.get("/tmp/x").await?.text()?);
    a.run("tty").pty().await?;
    a.pause().await?;
    a.resume().await?;
    a.kill().await?;
    a.restart().await?;
    a.run("false").await?;
    Ok(())
}
