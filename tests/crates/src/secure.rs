//! QUIC by quinn and TLS by rustls, both with ring.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

// Of `server`, valid from 2020 to 2120, and of use to nobody.
const CERTIFICATE: &[u8] = include_bytes!("secure/certificate.pem");
const KEY: &[u8] = include_bytes!("secure/key.pem");

fn server_config() -> ServerConfig {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

fn client_config(version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CERTIFICATE).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn payload() -> Vec<u8> {
    (0..=250).cycle().take(100_000).collect()
}

async fn echo_streams(connection: Connection) {
    loop {
        tokio::select! {
            stream = connection.accept_bi() => {
                let Ok((mut send, mut receive)) = stream else { return };
                tokio::spawn(async move {
                    let bytes = receive.read_to_end(1 << 20).await.unwrap();
                    send.write_all(&bytes).await.unwrap();
                    send.finish().unwrap();
                });
            }
            datagram = connection.read_datagram() => {
                let Ok(datagram) = datagram else { return };
                connection.send_datagram(datagram).unwrap();
            }
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn quinn_server() {
    let crypto = QuicServerConfig::try_from(server_config()).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = Endpoint::server(config, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 4433))).unwrap();
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move { echo_streams(incoming.await.unwrap()).await });
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn quinn_client() {
    let crypto = QuicClientConfig::try_from(client_config(&TLS13)).unwrap();
    let mut endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    let mut addresses = tokio::net::lookup_host("server:4433").await.unwrap();
    let server = addresses.find(SocketAddr::is_ipv4).unwrap();
    let connection = endpoint.connect(server, "server").unwrap().await.unwrap();
    for _ in 0..5 {
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&payload()).await.unwrap();
        send.finish().unwrap();
        let back = receive.read_to_end(1 << 20).await.unwrap();
        assert!(back == payload(), "other bytes came back: {}", back.len());
    }
    println!("5 streams of 100000 bytes");
    connection.send_datagram(b"ping".as_slice().into()).unwrap();
    println!("datagram {}", String::from_utf8_lossy(&connection.read_datagram().await.unwrap()));
    connection.close(0_u32.into(), b"done");
    println!("{}", connection.closed().await);
    endpoint.wait_idle().await;
}

async fn serve_tls(acceptor: TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut bytes = vec![0; payload().len()];
    stream.read_exact(&mut bytes).await?;
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn tls_server() {
    let acceptor = TlsAcceptor::from(Arc::new(server_config()));
    let listener = TcpListener::bind("0.0.0.0:443").await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        // A client that does not trust it goes away.
        tokio::spawn(async move { serve_tls(acceptor, stream).await });
    }
}

async fn connect() -> TcpStream {
    loop {
        match TcpStream::connect("server:443").await {
            Ok(stream) => return stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn tls_client() {
    for version in [&TLS13, &TLS12] {
        let connector = TlsConnector::from(Arc::new(client_config(version)));
        let name = ServerName::try_from("server").unwrap();
        let stream = connector.connect(name, connect().await).await.unwrap();
        let version = stream.get_ref().1.protocol_version().unwrap();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let writing = tokio::spawn(async move {
            writer.write_all(&payload()).await?;
            writer.flush().await
        });
        let mut back = Vec::new();
        reader.read_to_end(&mut back).await.unwrap();
        writing.await.unwrap().unwrap();
        assert!(back == payload(), "other bytes came back: {}", back.len());
        println!("{version:?} {}", back.len());
    }
    let connector = TlsConnector::from(Arc::new(client_config(&TLS13)));
    let other = ServerName::try_from("other").unwrap();
    assert!(connector.connect(other, connect().await).await.is_err());
    println!("another name is refused");
}
