//! Names by hickory, and a small server of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::name_server::TokioConnectionProvider;
use hickory_resolver::proto::xfer::Protocol;

/// The names that the server knows.
const KNOWN: &[u8] = b"\x02db\x07example\x03org\0";
const V4: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 7);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 7);

/// The answer to a query of one question (RFC 1035 §4.1): its addresses, or that there is no such name.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let end = HEADER + query.get(HEADER..)?.iter().position(|byte| *byte == 0)? + 1;
    let name = query[HEADER..end].to_ascii_lowercase();
    let question = query.get(HEADER..end + 4)?;
    let data = match (name == KNOWN, question[question.len() - 3]) {
        (true, 1) => Some(V4.octets().to_vec()),
        (true, 28) => Some(V6.octets().to_vec()),
        _ => None,
    };
    let refused = if name == KNOWN { 0 } else { 3 };
    let mut answer = query[..2].to_vec();
    answer.extend([0x85, 0x80 | refused, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
    answer.extend(question);
    if let Some(data) = data {
        // The name is that of the question; the type and class are too; it lives for a minute.
        answer.extend([0xc0, 12]);
        answer.extend(&question[question.len() - 4..]);
        answer.extend([0, 0, 0, 60, 0, u8::try_from(data.len()).ok()?]);
        answer.extend(data);
    }
    Some(answer)
}

pub(crate) fn server() {
    let socket = UdpSocket::bind("0.0.0.0:53").unwrap();
    let mut query = [0; 512];
    loop {
        let (count, from) = socket.recv_from(&mut query).unwrap();
        if let Some(answer) = answer(&query[..count]) {
            socket.send_to(&answer, from).unwrap();
        }
    }
}

async fn tell(resolver: &TokioResolver, name: &str) {
    match resolver.lookup_ip(name).await {
        Ok(found) => {
            let mut addresses: Vec<IpAddr> = found.iter().collect();
            addresses.sort();
            println!("{name} is {addresses:?}");
        }
        Err(error) if error.is_no_records_found() => println!("{name}: no records"),
        Err(error) => println!("{name}: {error}"),
    }
}

/// Both addresses of a name.
fn options(mut options: ResolverOpts) -> ResolverOpts {
    options.ip_strategy = hickory_resolver::config::LookupIpStrategy::Ipv4AndIpv6;
    options
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn configured() {
    let server = tokio::net::lookup_host("dns:53").await.unwrap().find(SocketAddr::is_ipv4).unwrap();
    let mut config = ResolverConfig::new();
    config.add_name_server(NameServerConfig::new(server, Protocol::Udp));
    let builder = TokioResolver::builder_with_config(config, TokioConnectionProvider::default());
    let resolver = builder.with_options(options(ResolverOpts::default())).build();
    tell(&resolver, "db.example.org.").await;
    tell(&resolver, "nowhere.example.org.").await;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn from_system() {
    let mut builder = TokioResolver::builder_tokio().unwrap();
    assert_eq!(builder.options_mut().timeout, Duration::from_secs(1));
    let options = options(builder.options_mut().clone());
    let resolver = builder.with_options(options).build();
    tell(&resolver, "db").await;
    tell(&resolver, "pinned").await;
    tell(&resolver, "nowhere").await;
}
