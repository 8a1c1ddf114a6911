//! Tests of turmoil and madsim, moved: those of `docs/moving.md`, which quotes them.
#![expect(clippy::print_stdout, reason = "what programs print is what a test sees of them")]

use std::fs::{self, File};
use std::io::{self, Write};

use netsplit::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

#[netsplit::program]
async fn server() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:9000").await?;
    println!("listening");
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let (mut from, mut to) = stream.into_split();
            tokio::io::copy(&mut from, &mut to).await
        });
    }
}

async fn ask(word: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect("server:9000").await?;
    stream.write_all(word.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[netsplit::program]
async fn client(words: Vec<String>) -> io::Result<()> {
    println!("{}", timeout(secs(5), ask(&words[0])).await??);
    Ok(())
}

#[netsplit::test(hosts(server = ["server"], client = ["client"]), needs = ["network"])]
async fn a_client_outlasts_a_partition(bed: Testbed) -> netsplit::Result {
    let [server_host, client_host] = [bed.host("server")?, bed.host("client")?];
    server_host.start(server).ready("listening").await?;
    client_host.run(client).args(["hello"]).await?.expect_stdout("hello")?;

    let partition = bed.network().cut(client_host.and(&server_host)).await?;
    client_host.run(client).args(["lost"]).exits(Exit::Nonzero).await?;
    partition.heal().await?;

    client_host.run(client).args(["again"]).await?.expect_stdout("again")?;
    Ok(())
}

/// Counts its starts, durably.
#[netsplit::program]
async fn counter() -> io::Result<()> {
    let count = match fs::read_to_string("/var/count") {
        Ok(text) => text.parse::<u32>().map_err(io::Error::other)? + 1,
        Err(_) => 1,
    };
    let mut file = File::create("/var/count.new")?;
    file.write_all(count.to_string().as_bytes())?;
    file.sync_all()?;
    fs::rename("/var/count.new", "/var/count")?;
    File::open("/var")?.sync_all()?; // or the name is lost with the power
    println!("start {count}");
    std::future::pending().await
}

#[netsplit::test(hosts(node = ["node"]), needs = ["kill"])]
async fn a_node_that_is_killed_has_its_disk(bed: Testbed) -> netsplit::Result {
    let node = bed.host("node")?;
    node.start(counter).ready("start 1").await?;
    node.kill().await?;
    node.restart().await?;
    node.start(counter).ready("start 2").await?;
    Ok(())
}
