//! A web server and its client, as a user would write them: they know of no simulation.

use std::time::Duration;

use anyhow::{Result, ensure};
use axum::{Router, routing::get};

/// What the server takes for an answer.
const WORK: Duration = Duration::from_millis(5);
/// The client's tasks.
pub(crate) const TASKS: usize = 8;
/// What each of them asks for.
pub(crate) const REQUESTS: usize = 1000;

/// Answers for ever.
#[tokio::main(worker_threads = 4)]
pub(crate) async fn server() -> Result<()> {
    let hello = async || {
        tokio::time::sleep(WORK).await;
        "hello"
    };
    let listener = tokio::net::TcpListener::bind("0.0.0.0:80").await?;
    Ok(axum::serve(listener, Router::new().route("/", get(hello))).await?)
}

/// Asks the server, from several tasks at once.
#[tokio::main(worker_threads = 4)]
pub(crate) async fn client() -> Result<()> {
    tokio::time::sleep(Duration::from_millis(10)).await; // until the server listens
    let client = reqwest::Client::new();
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(ask(client.clone()))).collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn ask(client: reqwest::Client) -> Result<()> {
    for _ in 0..REQUESTS {
        let text = client.get("http://host0/").send().await?.text().await?;
        ensure!(text == "hello", "{text:?}");
    }
    Ok(())
}
