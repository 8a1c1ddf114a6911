//! Programs over the crates that people use: ordinary ones, each the `main` of a process, that print what they found and panic
//! when it is wrong. They know nothing of where they run, and nothing here does: `tests/` puts them on simulated hosts.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these are programs: they print, and what goes wrong ends them with its reason"
)]

mod compute;
mod grpc;
mod names;
mod secure;
mod stores;
mod web;

/// What runs on a host.
pub type Main = fn();

/// Programs on hosts, and what they print when all is right.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// By which a test names it.
    pub name: &'static str,
    /// Programs that serve, each on the host of this name; they end with the case.
    pub servers: &'static [(&'static str, Main)],
    /// The program on the host `client`, which ends by itself, and with it the case.
    pub client: Main,
    /// What runs in its place once it has ended and `client` has lost its power and got it again.
    pub after_power_loss: Option<Main>,
    /// Files on the disk of `client`.
    pub files: &'static [(&'static str, &'static str)],
    /// What `client` prints.
    pub prints: &'static str,
}

const CASE: Case =
    Case { name: "", servers: &[], client: || {}, after_power_loss: None, files: &[], prints: "" };

/// All cases.
pub const CASES: &[Case] = &[
    Case {
        name: "axum and reqwest",
        servers: &[("server", web::axum_server)],
        client: web::reqwest_client,
        prints: "sum 12720\nslow answers in order: [0, 1, 2, 3, 4]\nno such page: 404\n",
        ..CASE
    },
    Case {
        name: "hyper",
        servers: &[("server", web::hyper_server)],
        client: web::hyper_client,
        prints: "200 OK, 300000 bytes back\n404 Not Found\n",
        ..CASE
    },
    Case {
        name: "tokio_util codecs",
        servers: &[("server", web::codec_server)],
        client: web::codec_client,
        prints: "frames 200, bytes 997000\nlines: ONE, TWO, THREE\n",
        ..CASE
    },
    Case {
        name: "tonic",
        servers: &[("server", grpc::server)],
        client: grpc::client,
        prints: "50 greetings, the last: hello 49 (50)\nstream: 0 1 4 9 16\nnobody: code InvalidArgument\n",
        ..CASE
    },
    Case {
        name: "quinn",
        servers: &[("server", secure::quinn_server)],
        client: secure::quinn_client,
        prints: "5 streams of 100000 bytes\ndatagram ping\nclosed\n",
        ..CASE
    },
    Case {
        name: "rustls with ring",
        servers: &[("server", secure::tls_server)],
        client: secure::tls_client,
        prints: "TLSv1_3 100000\nTLSv1_2 100000\nanother name is refused\n",
        ..CASE
    },
    Case {
        name: "rusqlite from four threads",
        client: stores::sqlite,
        after_power_loss: Some(stores::sqlite_after),
        prints: "journal wal\nrows 100, sum 7950\nfiles: db db-shm db-wal\nafter power loss: rows 100, ok\n",
        ..CASE
    },
    Case {
        name: "redb",
        client: stores::redb,
        after_power_loss: Some(stores::redb_after),
        prints: "entries 200, aborted 0\nafter power loss: entries 200, last 199\n",
        ..CASE
    },
    Case {
        name: "memmap2",
        client: stores::maps,
        after_power_loss: Some(stores::maps_after),
        prints: "another map: by me\nthe file: by me\nthe map of what was written: by it\nunmapped: by me\n\
                 after power loss: by it, by me\n",
        ..CASE
    },
    Case {
        name: "tokio::fs with fsync",
        client: stores::files,
        after_power_loss: Some(stores::files_after),
        prints: "names: [\"f0\", \"f1\", \"f2\", \"kept\"]\nlength 10, hello disk\n\
                 after power loss: hello disk\n",
        ..CASE
    },
    Case {
        name: "rayon",
        client: compute::rayon,
        prints: "threads 4\nsum 333283335000\nsorted true\njoined 832040\n",
        ..CASE
    },
    Case {
        name: "tracing-subscriber",
        client: compute::tracing,
        prints: "2026-01-01T00:00:01Z  INFO worker{id=0}: done waited=1\n\
                 2026-01-01T00:00:02Z  INFO worker{id=1}: done waited=2\n\
                 2026-01-01T00:00:03Z  INFO worker{id=2}: done waited=3\n\
                 2026-01-01T00:00:03Z  WARN all are done count=3\n",
        ..CASE
    },
    Case {
        name: "hickory with a configuration of its own",
        servers: &[("dns", names::server)],
        client: names::configured,
        prints: "db.example.org. is [10.9.8.7, fd00::7]\nnowhere.example.org.: no records\n",
        ..CASE
    },
    Case {
        name: "hickory with resolv.conf",
        servers: &[("dns", names::server)],
        client: names::from_system,
        files: &[
            ("/etc/resolv.conf", "nameserver 10.0.0.2\nsearch example.org\noptions timeout:1\n"),
            ("/etc/hosts", "10.1.1.1 pinned\n"),
        ],
        prints: "db is [10.9.8.7, fd00::7]\npinned is [10.1.1.1]\nnowhere: no records\n",
        ..CASE
    },
];
