//! Benches of the native index against its peers: rows as JSON lines. Run by `deno task bench index`.
//!
//! `index [--data DIR]` searches the made 128K head, and the real ones of the folder; `retrieval` times decode steps at 128K
//! tokens, with `--full` also at 1M. `--dump DIR` adds every layer that `deno task dump:qk` or `dump_qk.py` wrote there,
//! `--only-dump` leaves the made ones out,
//! `--only-1m` all but that length.

mod decode;
mod peers;
mod report;
mod search;
mod sets;

use report::Report;

fn run(args: &[String]) -> Result<(), String> {
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|i| args.get(i + 1)).cloned();
    let full = args.iter().any(|arg| arg == "--full");
    let only_dump = args.iter().any(|arg| arg == "--only-dump");
    match args.first().map(String::as_str) {
        Some("index") => {
            let mut report = Report { bench: "index" };
            let mut summaries = Vec::new();
            if let Some(folder) = value("--data") {
                for head in sets::real(&folder, 300)? {
                    summaries.push(search::measure(&head, &mut report)?);
                }
            }
            if let Some(folder) = value("--dump") {
                for layer in sets::dumped_layers(&folder)? {
                    for head in sets::dumped(&folder, layer, 300)? {
                        summaries.push(search::measure(&head, &mut report)?);
                    }
                }
            }
            if !only_dump {
                summaries.push(search::measure(&sets::made(1 << 17, 16_384, 300, 3), &mut report)?);
            }
            search::summarise(&summaries, &mut report);
            Ok(())
        }
        Some("retrieval") => {
            let mut report = Report { bench: "retrieval" };
            if let Some(folder) = value("--dump") {
                for layer in sets::dumped_layers(&folder)? {
                    let heads = sets::dumped(&folder, layer, 300)?;
                    let tokens = heads[0].name.split('_').next().unwrap_or_default().to_owned();
                    decode::measure(&format!("decode_step_{tokens}_l{layer}"), &heads, &mut report)?;
                }
            }
            if only_dump {
                return Ok(());
            }
            // Four different heads: 134 MB of keys and values, beyond any cache.
            let only_1m = args.iter().any(|arg| arg == "--only-1m");
            // One for each of the two cores that the bars are for: a scan of one head has one thread, where ours divides it.
            let million = || -> Vec<sets::Head> { (0..2).map(|i| sets::made(1 << 20, 65_536, 128, 3 + i)).collect() };
            if only_1m {
                return decode::measure("decode_step_1m", &million(), &mut report);
            }
            let heads: Vec<sets::Head> = (0..4).map(|i| sets::made(1 << 17, 16_384, 128, 3 + i)).collect();
            decode::measure("decode_step_128k", &heads, &mut report)?;
            drop(heads);
            if full {
                decode::measure("decode_step_1m", &million(), &mut report)?;
            }
            Ok(())
        }
        other => Err(format!("which bench is {other:?}? expected index or retrieval")),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Err(problem) = run(&args) {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}
