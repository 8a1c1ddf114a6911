//! The command line: `kv serve` is one member, the rest is a client.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use tokio::time::sleep;

use crate::client::Client;
use crate::config::{Config, Flaw, parse_peers};
use crate::http::serve;
use crate::member::say;

const USAGE: &str = "\
usage: kv serve --name a --listen 0.0.0.0:7000 --peers a:7000,b:7000,c:7000 --data /var/lib/kv [--unsafe-ack]
       kv CLIENT --servers a:7000,b:7000,c:7000 [--timeout-ms 5000]
CLIENT is one of
  put KEY VALUE
  get KEY
  list           what the first server has applied
  status         name, role, term, committed and last entry of each server
  write PREFIX   goes on writing PREFIX/1, PREFIX/2, and so on, and says of each `acked` or `failed`";

/// Between two writes of `write`.
const WRITE_PAUSE: Duration = Duration::from_millis(10);

/// Runs the command; gives the exit code: 0 done, 1 failed, 2 no such key.
pub async fn run(arguments: Vec<String>) -> u8 {
    match execute(&arguments).await {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "kv: {error}");
            1
        }
    }
}

async fn execute(arguments: &[String]) -> Result<u8, Box<dyn Error>> {
    let (flags, words) = parse(arguments)?;
    let value = |flag: &str| flags.get(flag).copied().ok_or_else(|| format!("--{flag} is missing\n{USAGE}"));
    let client = || -> Result<Client, Box<dyn Error>> {
        let timeout = flags.get("timeout-ms").map_or(Ok(5000), |text| text.parse())?;
        Ok(Client::new(value("servers")?, Duration::from_millis(timeout))?)
    };
    match words[..] {
        ["serve"] => {
            serve(Config {
                name: value("name")?.to_owned(),
                listen: value("listen")?.to_owned(),
                peers: parse_peers(value("peers")?)?,
                data_dir: value("data")?.into(),
                flaw: flags.contains_key("unsafe-ack").then_some(Flaw::UnsafeAck),
            })
            .await?
        }
        ["put", key, value] => client()?.put(key, value).await?,
        ["get", key] => match client()?.get(key).await? {
            Some(value) => say(&value),
            None => return Ok(2),
        },
        ["list"] => {
            for (key, value) in client()?.list().await? {
                say(&format!("{key}\t{value}"));
            }
        }
        ["status"] => show_status(&client()?).await,
        ["write", prefix] => write(&mut client()?, prefix).await,
        _ => return Err(USAGE.into()),
    }
    Ok(0)
}

/// Flags with their values, and the other words.
type Parsed<'a> = (BTreeMap<&'a str, &'a str>, Vec<&'a str>);

fn parse(arguments: &[String]) -> Result<Parsed<'_>, String> {
    let (mut flags, mut words) = (BTreeMap::new(), Vec::new());
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        let Some(flag) = argument.strip_prefix("--") else {
            words.push(argument);
            continue;
        };
        let value = match flag {
            "unsafe-ack" => "",
            "name" | "listen" | "peers" | "data" | "servers" | "timeout-ms" => {
                arguments.next().ok_or_else(|| format!("--{flag} has no value"))?
            }
            _ => return Err(format!("unknown flag --{flag}\n{USAGE}")),
        };
        flags.insert(flag, value);
    }
    Ok((flags, words))
}

async fn show_status(client: &Client) {
    for (server, status) in client.status().await {
        match status {
            Some(status) => {
                let (name, role, term) = (status.name, status.role, status.term);
                say(&format!("{name}\t{role}\t{term}\t{}\t{}", status.commit, status.last));
            }
            None => say(&format!("{server}\tunreachable")),
        }
    }
}

/// Writes for ever, each key once, whatever comes of it.
async fn write(client: &mut Client, prefix: &str) {
    for number in 1_u64.. {
        let key = format!("{prefix}/{number}");
        match client.put(&key, &number.to_string()).await {
            Ok(()) => say(&format!("acked {key}")),
            Err(failure) => say(&format!("failed {key} {failure}")),
        }
        sleep(WRITE_PAUSE).await;
    }
}
