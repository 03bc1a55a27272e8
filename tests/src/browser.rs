//! A page as Chromium shows it, without a network.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::text;

/// The document once it is loaded; and a picture of it beside the page. An error when the page says anything on the
/// console: of what was not loaded, or must not run.
pub fn show(page: &Path) -> anyhow::Result<String> {
    let profile = tempfile::tempdir()?;
    let mut data_dir = std::ffi::OsString::from("--user-data-dir=");
    data_dir.push(profile.path());
    let mut picture = std::ffi::OsString::from("--screenshot=");
    picture.push(page.with_extension("png"));
    let browser = |what: &std::ffi::OsStr| {
        Command::new("chromium")
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args([
                "--host-resolver-rules=MAP * ~NOTFOUND",
                "--enable-logging=stderr",
                "--window-size=1000,1400",
            ])
            .arg(&data_dir)
            .arg(what)
            .arg(page)
            .stdin(Stdio::null())
            .output()
            .context("chromium: `cargo xtask test postgres` installs it")
    };
    let drawn = browser(&picture)?;
    ensure!(drawn.status.success() && page.with_extension("png").is_file(), "{}", text(&drawn));
    let dumped = browser("--dump-dom".as_ref())?;
    ensure!(dumped.status.success(), "{}", text(&dumped));
    let said = String::from_utf8_lossy(&dumped.stderr);
    ensure!(!said.contains("CONSOLE"), "{said}");
    Ok(String::from_utf8(dumped.stdout)?)
}
