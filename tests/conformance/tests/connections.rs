//! Connections from the test into a host: `connect` and `forward` carry bytes both ways, each way to its own end.

use conformance::programs::{PORT, echo_server, flood_server, idle_server};
use conformance::{MIB, fails, load};
use netsplit::Reason;
use netsplit::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends all, says that it was all, and reads what comes back to its end.
async fn echo(stream: impl AsyncRead + AsyncWrite, bytes: &[u8]) {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut back = Vec::new();
    let (sent, received) = tokio::join!(
        async {
            write.write_all(bytes).await?;
            write.shutdown().await
        },
        read.read_to_end(&mut back)
    );
    sent.expect("all was sent");
    received.expect("all came back");
    load::assert_same(&back, bytes, "the echo");
}

#[netsplit::test(hosts = 2, needs = ["connect"])]
async fn bytes_go_both_ways_to_the_end(bed: Testbed) -> netsplit::Result {
    for host in bed.hosts() {
        host.start(echo_server).ready("listening").await?;
        let forward = host.forward(PORT).await?;
        for size in [0, 1, 65_536, 65_537, MIB + 1] {
            let bytes = load::noise(size);
            echo(host.connect(PORT).await?, &bytes).await;
            echo(TcpStream::connect(forward.address()).await.expect("a connection"), &bytes).await;
        }
        // Half closed by us: the server saw the end, and what it had to say still came.
        host.wait_for("closed after 1048577").await?;
        assert_eq!(forward.to_string(), forward.address().to_string());
    }
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["connect"])]
async fn many_connections_at_once(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.start(echo_server).ready("listening").await?;
    let mut all = tokio::task::JoinSet::new();
    for number in 0..50 {
        let stream = a.connect(PORT).await?;
        all.spawn(async move { echo(stream, &load::noise(20_000 + number)).await });
    }
    while let Some(ended) = all.join_next().await {
        ended.expect("an echo");
    }
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["connect"])]
async fn a_refused_port_is_an_error_with_a_hint(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let text = fails(a.connect(PORT).await, Reason::ConnectionRefused);
    assert!(text.contains("no connection to port 7000 of a") && text.contains("efused"), "{text}");
    assert!(text.contains("try: wait for the line that says it listens"), "{text}");
    // Through a forwarded port a client sees a connection that ends.
    let forward = a.forward(PORT).await?;
    let mut stream = TcpStream::connect(forward.address()).await.expect("a connection");
    let mut back = Vec::new();
    let _reset_or_end = stream.read_to_end(&mut back).await;
    assert!(back.is_empty());
    // As soon as somebody listens, the same port leads there.
    a.start(echo_server).ready("listening").await?;
    echo(TcpStream::connect(forward.address()).await.expect("a connection"), b"now").await;
    let address = forward.address();
    drop(forward);
    eventually(secs(5), async || if TcpStream::connect(address).await.is_err() { Ok(()) } else { Err(()) })
        .await
        .expect("a dropped forward listens no more");
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["connect"])]
async fn a_client_that_goes_away_is_noticed(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.start(echo_server).ready("listening").await?;
    let mut stream = a.connect(PORT).await?;
    stream.write_all(b"five!").await.expect("a write");
    stream.flush().await.expect("a flush");
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.expect("its echo");
    drop(stream);
    a.wait_for("closed after 5|broken").await?;
    a.run("true").await.map(drop)
}

#[netsplit::test(hosts = 1, needs = ["connect"])]
async fn a_client_that_does_not_read_holds_nothing_up(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let server = a.start(flood_server).ready("listening").await?;
    for _ in 0..5 {
        let mut stream = a.connect(PORT).await?;
        let mut some = vec![1; 100_000];
        stream.read_exact(&mut some).await.expect("zeros");
        assert!(some.iter().all(|byte| *byte == 0));
        a.run("true").within(secs(10)).await?;
        drop(stream);
        // Who left is not sent to any more.
        server.wait_for("^gone$").within(secs(5)).await?;
    }
    Ok(())
}

/// Whatever the server does or does not, a client that has gone leaves nothing open in its agent.
#[netsplit::test(hosts = 1, needs = ["connect", "programs"])]
async fn a_client_that_goes_away_leaves_nothing_behind(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.start(idle_server).ready("listening").await?;
    let sockets = "ls -l /proc/1/fd | grep -c socket: || true";
    let before = a.run(sh(sockets)).read().await?;
    for _ in 0..5 {
        drop(a.connect(PORT).await?);
        let mut halfway = a.connect(PORT).await?;
        halfway.shutdown().await.expect("an end");
        a.run("true").await?;
        drop(halfway);
        // More than the server's socket holds: it lies in the agent.
        let mut stuck = a.connect(PORT).await?;
        let much = vec![1; 32 * MIB];
        assert!(tokio::time::timeout(millis(500), stuck.write_all(&much)).await.is_err());
        drop(stuck);
    }
    a.run(sh(format!("[ $({sockets}) = {before} ]"))).eventually(secs(5)).await.map(drop)
}

#[netsplit::test(hosts = 1, needs = ["connect", "kill"])]
async fn a_connection_ends_with_its_host(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.start(echo_server).ready("listening").await?;
    let mut stream = a.connect(PORT).await?;
    let forward = a.forward(PORT).await?;
    let mut outside = TcpStream::connect(forward.address()).await.expect("a connection");
    outside.write_all(b"x").await.expect("a write");
    outside.read_exact(&mut [0]).await.expect("its echo");
    a.kill().await?;
    assert!(
        stream.read_to_end(&mut Vec::new()).await.is_err(),
        "a reset, and not an end as if all were said"
    );
    let _reset_or_end = outside.read_to_end(&mut Vec::new()).await;
    a.restart().await?;
    a.start(echo_server).ready("listening").await?;
    echo(TcpStream::connect(forward.address()).await.expect("a connection"), b"again").await;
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["connect", "kill"])]
async fn an_answer_that_breaks_off_is_a_reset_for_who_reads_it(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.start(echo_server).ready("listening").await?;
    let forward = a.forward(PORT).await?;
    let mut stream = TcpStream::connect(forward.address()).await.expect("a connection");
    stream.write_all(b"half").await.expect("it is taken");
    stream.read_exact(&mut [0; 4]).await.expect("it comes back");
    a.kill().await?;
    let error = stream.read(&mut [0; 4]).await.expect_err("no clean end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    Ok(())
}
