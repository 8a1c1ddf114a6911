//! gRPC by tonic. What `protoc` would have written stands here by hand.

use std::convert::Infallible;
use std::future::Ready;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct Greeting {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    number: u32,
}

type Answered<T> = Ready<Result<Response<T>, Status>>;

struct Greet;

impl UnaryService<Greeting> for Greet {
    type Response = Greeting;
    type Future = Answered<Greeting>;

    fn call(&mut self, request: Request<Greeting>) -> Self::Future {
        let Greeting { name, number } = request.into_inner();
        std::future::ready(if name.is_empty() {
            Err(Status::invalid_argument("nobody to greet"))
        } else {
            Ok(Response::new(Greeting { name: format!("hello {name}"), number: number + 1 }))
        })
    }
}

struct Squares;

impl ServerStreamingService<Greeting> for Squares {
    type Response = Greeting;
    type ResponseStream = BoxStream<'static, Result<Greeting, Status>>;
    type Future = Answered<Self::ResponseStream>;

    fn call(&mut self, request: Request<Greeting>) -> Self::Future {
        let squares = stream::iter(0..request.into_inner().number).then(async |number| {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(Greeting { name: String::new(), number: number * number })
        });
        std::future::ready(Ok(Response::new(squares.boxed())))
    }
}

#[derive(Clone)]
struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "Greeter";
}

impl Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Greeting, Greeting>::default());
            Ok(match request.uri().path() {
                "/Greeter/Greet" => grpc.unary(Greet, request).await,
                "/Greeter/Squares" => grpc.server_streaming(Squares, request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn server() {
    Server::builder().add_service(Greeter).serve("0.0.0.0:50051".parse().unwrap()).await.unwrap();
}

async fn connect() -> Channel {
    loop {
        match Channel::from_static("http://server:50051").connect().await {
            Ok(channel) => return channel,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn client() {
    let mut grpc = tonic::client::Grpc::new(connect().await);
    let greet = PathAndQuery::from_static("/Greeter/Greet");
    let codec = ProstCodec::<Greeting, Greeting>::default;
    let mut last = Greeting::default();
    for number in 0..50 {
        grpc.ready().await.unwrap();
        let request = Request::new(Greeting { name: number.to_string(), number });
        last = grpc.unary(request, greet.clone(), codec()).await.unwrap().into_inner();
    }
    println!("50 greetings, the last: {} ({})", last.name, last.number);

    grpc.ready().await.unwrap();
    let squares = PathAndQuery::from_static("/Greeter/Squares");
    let request = Request::new(Greeting { name: String::new(), number: 5 });
    let stream = grpc.server_streaming(request, squares, codec()).await.unwrap().into_inner();
    let numbers: Vec<Greeting> = stream.try_collect().await.unwrap();
    let numbers: Vec<_> = numbers.iter().map(|greeting| greeting.number.to_string()).collect();
    println!("stream: {}", numbers.join(" "));

    grpc.ready().await.unwrap();
    let refused: Result<Response<Greeting>, _> =
        grpc.unary(Request::new(Greeting::default()), greet, codec()).await;
    let code = refused.map_or_else(|status| status.code(), |_| Code::Ok);
    println!("nobody: code {code:?}");
}
