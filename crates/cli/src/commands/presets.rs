//! `netsplit presets`: what links usually are like, and how far regions are from one another.

use std::io::IsTerminal;
use std::process::ExitCode;

use netsplit::netmodel::regions::{REGIONS, between};
use netsplit::netmodel::{Condition, Jitter, PRESETS, Preset};
use serde_json::{Value, json};

use crate::args::PresetsArgs;
use crate::output::Output;

pub(crate) fn run(args: &PresetsArgs, output: Output) -> anyhow::Result<ExitCode> {
    match (args.regions, args.json) {
        (false, true) => {
            let presets: Vec<_> = PRESETS.iter().map(document).collect();
            let document = json!({ "netsplit": 1, "type": "presets", "presets": presets });
            output.out(serde_json::to_string(&document)?);
        }
        (true, true) => {
            let rows: Vec<Vec<_>> =
                REGIONS.iter().map(|from| REGIONS.iter().map(|to| delay_ms(from, to)).collect()).collect();
            let document = json!({ "netsplit": 1, "type": "regions", "regions": REGIONS, "delay_ms": rows });
            output.out(serde_json::to_string(&document)?);
        }
        (false, false) => presets(output),
        (true, false) => regions(output),
    }
    Ok(ExitCode::SUCCESS)
}

fn document(preset: &Preset) -> Value {
    let Preset { name, about, source, condition } = preset;
    json!({ "name": name, "about": about, "source": source, "condition": condition })
}

fn presets(output: Output) {
    let is_terminal = std::io::stdout().is_terminal();
    output.out(format!(
        "{:<13}\t{:>7}\t{:>6}\t{:>6}\t{:>10}\tabout{}",
        "preset",
        "delay",
        "jitter",
        "loss",
        "rate",
        if is_terminal { "" } else { "\tsource" }
    ));
    for preset in &PRESETS {
        let [name, delay, jitter, loss, rate, about] = cells(preset);
        let line = format!("{name:<13}\t{delay:>7}\t{jitter:>6}\t{loss:>6}\t{rate:>10}\t{about}");
        if is_terminal {
            output.out(line);
            output.out(format!("  {}", preset.source));
        } else {
            output.out(format!("{line}\t{}", preset.source));
        }
    }
}

/// Name, delay, jitter, loss, rate, what it is.
fn cells(preset: &Preset) -> [String; 6] {
    let Preset { name, about, condition, .. } = preset;
    let alone = |condition: Condition, word: &str| {
        let shown = condition.to_string();
        shown.strip_prefix(word).map_or("-", str::trim).to_owned()
    };
    let only = Condition::new;
    let delay = alone(Condition { delay: condition.delay, ..only() }, "delay");
    let jitter = condition.jitter.map(|jitter: Jitter| jitter.spread);
    let jitter = alone(Condition { delay: jitter, ..only() }, "delay");
    let loss = alone(Condition { loss: condition.loss, ..only() }, "loss");
    let rate = alone(Condition { rate_bits_per_s: condition.rate_bits_per_s, ..only() }, "rate");
    let (loss, bursts) = loss.split_once(" in ").unwrap_or((&loss, ""));
    let about = if bursts.is_empty() { (*about).to_owned() } else { format!("{about}; loss in {bursts}") };
    [(*name).to_owned(), delay, jitter, loss.to_owned(), rate, about]
}

fn regions(output: Output) {
    let row = |first: &str, cells: Vec<String>| {
        let cells =
            REGIONS.iter().zip(cells).map(|(name, cell)| format!("{cell:>width$}", width = name.len()));
        format!("{first:<10}\t{}", cells.collect::<Vec<_>>().join("\t"))
    };
    output.out(row("ms one way", REGIONS.map(ToOwned::to_owned).to_vec()));
    for from in REGIONS {
        let cells = REGIONS.iter().map(|to| delay_ms(from, to).to_string()).collect();
        output.out(row(from, cells));
    }
}

fn delay_ms(from: &str, to: &str) -> f64 {
    let delay = between(from, to).and_then(|condition| condition.delay).unwrap_or_default();
    delay.as_secs_f64() * 1000.0
}

/// The tables of docs/faults.md, in Markdown.
#[cfg(test)]
pub(super) fn tables() -> [(&'static str, String); 2] {
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rows = |head: &[String], rows: Vec<Vec<String>>| {
        let line = row(&vec!["---".to_owned(); head.len()]);
        row(head) + &line + &rows.iter().map(|cells| row(cells)).collect::<String>()
    };
    let head = ["preset", "delay", "jitter", "loss", "rate", "is"].map(str::to_owned);
    let presets = PRESETS.iter().map(|preset| cells(preset).to_vec()).collect();
    let names = std::iter::once(String::new()).chain(REGIONS.map(str::to_owned)).collect::<Vec<_>>();
    let far = |from: &str| {
        let delays = REGIONS.iter().map(|to| delay_ms(from, to).to_string());
        std::iter::once(from.to_owned()).chain(delays).collect()
    };
    let regions = REGIONS.iter().map(|from| far(from)).collect();
    [("presets", rows(&head, presets)), ("regions", rows(&names, regions))]
}
