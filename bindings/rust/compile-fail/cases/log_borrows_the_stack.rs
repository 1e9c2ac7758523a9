// SPDX-License-Identifier: Apache-2.0
// A log lives as long as its context: it cannot borrow what goes earlier.
use mustafar::*;

fn main() -> Result<()> {
    let lines = std::sync::Mutex::new(Vec::new());
    let hooks = Hooks::new().log(LogLevel::Info, |_, text| lines.lock().unwrap().push(text.to_owned()));
    Context::with(&ContextOptions::default(), hooks)?;
    Ok(())
}
