//! HTTP by axum, reqwest and hyper, and frames by `tokio_util`.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{Framed, LengthDelimitedCodec, LinesCodec};

async fn add(State(sum): State<Arc<AtomicU64>>, Json(numbers): Json<Vec<u64>>) -> Json<u64> {
    let more: u64 = numbers.iter().sum();
    Json(sum.fetch_add(more, Ordering::SeqCst) + more)
}

async fn slow(Path(number): Path<u64>) -> String {
    tokio::time::sleep(Duration::from_millis(100 - 10 * number)).await;
    number.to_string()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn axum_server() {
    let app = Router::new()
        .route("/add", post(add))
        .route("/slow/{number}", get(slow))
        .with_state(Arc::new(AtomicU64::new(0)));
    axum::serve(TcpListener::bind("0.0.0.0:80").await.unwrap(), app).await.unwrap();
}

async fn connect(address: &str) -> TcpStream {
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn reqwest_client() {
    drop(connect("server:80").await);
    let client = reqwest::Client::new();
    let tasks: Vec<_> = (0..8_u64)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                for request in 0..20 {
                    let numbers = [task * 20, request];
                    let answer = client.post("http://server/add").json(&numbers).send().await.unwrap();
                    let _sum: u64 = answer.error_for_status().unwrap().json().await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let answer = client.post("http://server/add").json(&[0; 0]).send().await.unwrap();
    println!("sum {}", answer.json::<u64>().await.unwrap());
    let slow = (0..5).map(|number| client.get(format!("http://server/slow/{number}")).send());
    let mut numbers = Vec::new();
    for answer in futures_util::future::join_all(slow).await {
        numbers.push(answer.unwrap().text().await.unwrap().parse::<u64>().unwrap());
    }
    println!("slow answers in order: {numbers:?}");
    let missing = client.get("http://server/missing").send().await.unwrap();
    println!("no such page: {}", missing.status().as_u16());
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/echo" {
        let mut missing = Response::new(Full::default());
        *missing.status_mut() = StatusCode::NOT_FOUND;
        return Ok(missing);
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Ok(Response::new(Full::new(body)))
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn hyper_server() {
    let listener = TcpListener::bind("[::]:8080").await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(echo));
            connection.await.unwrap();
        });
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn hyper_client() {
    let stream = connect("server:8080").await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut ask = async |path: &str, body: Vec<u8>| {
        let request = Request::builder().method(Method::POST).uri(path).header("host", "server");
        sender.ready().await.unwrap();
        sender.send_request(request.body(Full::<Bytes>::from(body)).unwrap()).await.unwrap()
    };
    let sent: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let answer = ask("/echo", sent.clone()).await;
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(body == sent, "other bytes came back");
    println!("{status}, {} bytes back", body.len());
    println!("{}", ask("/", Vec::new()).await.status());
    drop(sender);
    connection.await.unwrap().unwrap();
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn codec_server() {
    let frames = TcpListener::bind("0.0.0.0:7000").await.unwrap();
    let lines = TcpListener::bind("0.0.0.0:7001").await.unwrap();
    loop {
        tokio::select! {
            accepted = frames.accept() => {
                let mut framed = Framed::new(accepted.unwrap().0, LengthDelimitedCodec::new());
                tokio::spawn(async move {
                    while let Some(frame) = framed.next().await {
                        framed.send(frame.unwrap().freeze()).await.unwrap();
                    }
                });
            }
            accepted = lines.accept() => {
                let mut framed = Framed::new(accepted.unwrap().0, LinesCodec::new());
                tokio::spawn(async move {
                    while let Some(line) = framed.next().await {
                        framed.send(line.unwrap().to_uppercase()).await.unwrap();
                    }
                });
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn codec_client() {
    let framed = Framed::new(connect("server:7000").await, LengthDelimitedCodec::new());
    let (mut sink, mut stream) = framed.split();
    let frame = |number: u8| Bytes::from(vec![number; 10 + usize::from(number) * 50]);
    let writer = tokio::spawn(async move {
        for number in 0..200 {
            sink.feed(frame(number)).await.unwrap();
        }
        sink.close().await.unwrap();
    });
    let (mut frames, mut bytes) = (0, 0);
    while let Some(back) = stream.next().await {
        let back = back.unwrap();
        assert!(back == frame(frames), "frame {frames} came back with {} bytes", back.len());
        (frames, bytes) = (frames + 1, bytes + back.len());
    }
    writer.await.unwrap();
    println!("frames {frames}, bytes {bytes}");
    let mut framed = Framed::new(connect("server:7001").await, LinesCodec::new());
    let mut lines = Vec::new();
    for line in ["one", "two", "three"] {
        framed.send(line).await.unwrap();
        lines.push(framed.next().await.unwrap().unwrap());
    }
    println!("lines: {}", lines.join(", "));
}
