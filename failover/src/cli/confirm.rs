//! Destructive verbs ask for a name to be typed; without a terminal they demand `--yes`.

use std::io::{IsTerminal, Write};

use super::exit::{Exit, Failure};

/// Asks that `name` be typed, unless `yes`.
pub fn confirm(yes: bool, question: &str, name: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::error(format!(
            "{question}: there is no terminal to ask on; nothing was changed; say --yes"
        )));
    }
    eprint!("{question}.\nType {name} to go on: ");
    let _ = std::io::stderr().flush();
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed).map_err(|error| Failure::error(error.to_string()))?;
    if typed.trim() == name {
        return Ok(());
    }
    Err(Failure::new(Exit::Error, format!("{:?} is not {name:?}: nothing was changed", typed.trim())))
}
