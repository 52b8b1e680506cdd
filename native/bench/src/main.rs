//! Benches of the native index against its peers: rows as JSON lines. Run by `deno task bench index`.
//!
//! `index [--data DIR]` searches the made 128K head, and the real ones of the folder; `retrieval` times decode steps at 128K
//! tokens, with `--full` also at 1M.

mod decode;
mod peers;
mod report;
mod search;
mod sets;

use report::Report;

fn run(args: &[String]) -> Result<(), String> {
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|i| args.get(i + 1)).cloned();
    let full = args.iter().any(|arg| arg == "--full");
    match args.first().map(String::as_str) {
        Some("index") => {
            let mut report = Report { bench: "index" };
            if let Some(folder) = value("--data") {
                for head in sets::real(&folder, 300)? {
                    search::measure(&head, &mut report)?;
                }
            }
            search::measure(&sets::made(1 << 17, 16_384, 300, 3), &mut report)
        }
        Some("retrieval") => {
            let mut report = Report { bench: "retrieval" };
            // Two different heads, four times each: 270 MB of keys and values, beyond any cache.
            let heads: Vec<sets::Head> = (0..4).map(|i| sets::made(1 << 17, 16_384, 128, 3 + i)).collect();
            decode::measure("decode_step_128k", &heads, &mut report)?;
            drop(heads);
            if full {
                decode::measure("decode_step_1m", &[sets::made(1 << 20, 65_536, 128, 3)], &mut report)?;
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
