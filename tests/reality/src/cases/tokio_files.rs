//! Files by way of tokio, whose calls are those of std in threads of the runtime.

use std::io::{self, SeekFrom};
use std::time::Duration;

use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufReader};
use tokio::task::JoinSet;
use tokio::time;

use crate::Seen;
use crate::seen::text;
use crate::tcp::{pair, read, read_all};

pub(super) async fn round_trip(seen: Seen) -> io::Result<()> {
    let path = seen.path("file");
    seen.error("read what is not there", fs::read(&path).await);
    fs::write(&path, "written").await?;
    seen.outcome("content", fs::read_to_string(&path).await);
    seen.outcome("copied", fs::copy(&path, seen.path("copy")).await);
    fs::rename(seen.path("copy"), seen.path("moved")).await?;
    seen.outcome("exists", fs::try_exists(seen.path("copy")).await);
    seen.outcome("length", fs::metadata(seen.path("moved")).await.map(|metadata| metadata.len()));
    fs::remove_file(&path).await?;
    seen.error("remove again", fs::remove_file(&path).await);
    Ok(())
}

pub(super) async fn handles(seen: Seen) -> io::Result<()> {
    let path = seen.path("file");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).await?;
    file.write_all(b"0123456789").await?;
    file.flush().await?;
    seen.outcome("after a flush", fs::read_to_string(&path).await);
    seen.outcome("back", file.seek(SeekFrom::Start(4)).await);
    let mut three = [0; 3];
    file.read_exact(&mut three).await?;
    seen.note("read", text(&three));
    file.set_len(8).await?;
    seen.outcome("rest", read(&mut file).await);
    seen.outcome("end", read(&mut file).await);
    file.write_all(b"!").await?;
    seen.error("sync", file.sync_all().await);
    seen.outcome("content", fs::read_to_string(&path).await);
    seen.error("again", File::create_new(&path).await);
    Ok(())
}

/// An error of a write is told by the call after it.
pub(super) async fn late_errors(seen: Seen) -> io::Result<()> {
    let mut full = OpenOptions::new().write(true).open("/dev/full").await?;
    seen.outcome("write", full.write(b"does not fit").await);
    seen.error("flush", full.flush().await);
    fs::write(seen.path("file"), "").await?;
    let mut reading = File::open(seen.path("file")).await?;
    seen.outcome("write where one reads", reading.write(b"x").await);
    seen.error("flush", reading.flush().await);
    Ok(())
}

pub(super) async fn lines(seen: Seen) -> io::Result<()> {
    let path = seen.path("lines");
    fs::write(&path, "one\r\ntwo\n\nlast, without an end").await?;
    let mut lines = BufReader::new(File::open(&path).await?).lines();
    while let Some(line) = lines.next_line().await? {
        seen.note("line", line);
    }
    let mut parts = BufReader::new(File::open(&path).await?).split(b'o');
    while let Some(part) = parts.next_segment().await? {
        seen.note("part", text(&part));
    }
    Ok(())
}

pub(super) async fn folders(seen: Seen) -> io::Result<()> {
    fs::create_dir_all(seen.path("a/b")).await?;
    fs::write(seen.path("a/file"), "x").await?;
    let mut entries = fs::read_dir(seen.path("a")).await?;
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
        names.push((entry.file_name().to_string_lossy().into_owned(), entry.file_type().await?.is_dir()));
    }
    names.sort();
    seen.note("entries", names);
    seen.error("remove", fs::remove_dir(seen.path("a")).await);
    seen.error("remove all", fs::remove_dir_all(seen.path("a")).await);
    fs::symlink("nowhere", seen.path("link")).await?;
    seen.outcome("link", fs::read_link(seen.path("link")).await);
    seen.error("where it leads", fs::canonicalize(seen.path("link")).await);
    Ok(())
}

pub(super) async fn many_at_once(seen: Seen) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    for number in 0..64_usize {
        let path = seen.path(&number.to_string());
        tasks.spawn(async move {
            fs::write(&path, vec![7; number * 100]).await?;
            Ok::<_, io::Error>(fs::read(&path).await?.len() == number * 100)
        });
    }
    let right = tasks.join_all().await.into_iter().filter(|right| matches!(right, Ok(true))).count();
    seen.note("right", right);
    Ok(())
}

pub(super) async fn appended_by_tasks(seen: Seen) -> io::Result<()> {
    let path = seen.path("log");
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let path = path.clone();
        tasks.spawn(async move {
            let mut file = OpenOptions::new().append(true).create(true).open(&path).await?;
            for line in 0..10 {
                file.write_all(format!("{task} {line}\n").as_bytes()).await?;
                file.flush().await?;
            }
            Ok::<_, io::Error>(())
        });
    }
    seen.note("tasks", tasks.join_all().await.into_iter().filter(Result::is_ok).count());
    let log = fs::read_to_string(&path).await?;
    seen.note("lines, all whole", log.lines().filter(|line| line.len() == 3).count());
    let of = |task: usize| log.lines().filter(move |line| line.starts_with(&task.to_string()));
    let in_order = (0..8).all(|task| of(task).enumerate().all(|(at, line)| line.ends_with(&at.to_string())));
    seen.note("each task's in order", in_order);
    Ok(())
}

pub(super) async fn cancelled_reads_go_on(seen: Seen) -> io::Result<()> {
    let path = seen.path("file");
    let expected: String = (0..20_000).map(|number| format!("{number} ")).collect();
    fs::write(&path, &expected).await?;
    let mut file = File::open(&path).await?;
    let mut all = String::new();
    loop {
        // tokio's file keeps what its thread has read for the next who asks.
        match time::timeout(Duration::ZERO, read(&mut file)).await {
            Ok(part) => match part?.as_str() {
                "" => break,
                part => all.push_str(part),
            },
            Err(_) => tokio::task::yield_now().await,
        }
    }
    seen.note("nothing is lost", all == expected);
    Ok(())
}

pub(super) async fn between_files_and_sockets(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    fs::write(seen.path("from"), "x".repeat(300_000)).await?;
    let mut from = File::open(seen.path("from")).await?;
    let sender = tokio::spawn(async move {
        let sent = tokio::io::copy(&mut from, &mut client).await?;
        client.shutdown().await?;
        Ok::<_, io::Error>(sent)
    });
    let mut to = File::create(seen.path("to")).await?;
    seen.outcome("received", tokio::io::copy(&mut server, &mut to).await);
    seen.outcome("sent", sender.await?);
    to.flush().await?;
    let mut to = File::open(seen.path("to")).await?;
    seen.outcome("the same", read_all(&mut to).await.map(|text| text == "x".repeat(300_000)));
    Ok(())
}

pub(super) async fn handles_change_sides(seen: Seen) -> io::Result<()> {
    let path = seen.path("file");
    let mut file = File::create(&path).await?;
    file.write_all(b"by tokio, ").await?;
    file.flush().await?;
    let mut blocking = file.into_std().await;
    io::Write::write_all(&mut blocking, b"by std, ")?;
    let mut file = File::from_std(blocking);
    let mut clone = file.try_clone().await?;
    file.write_all(b"again").await?;
    file.flush().await?;
    clone.write_all(b" by a clone").await?;
    clone.flush().await?;
    seen.outcome("content", fs::read_to_string(&path).await);
    Ok(())
}
