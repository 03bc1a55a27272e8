use std::ffi::OsStr;
use std::path::PathBuf;

use decision::config::check::Severity;
use failover::config;

use super::{assert_file, data};

fn cases(folder: &str) -> Vec<PathBuf> {
    let files =
        std::fs::read_dir(data(folder)).expect("a folder of cases").flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension() == Some(OsStr::new("yml"))).collect();
    files.sort();
    files
}

fn name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[test]
fn every_broken_file_is_refused_as_its_transcript_says() {
    let cases = cases("broken");
    assert!(cases.len() >= 30);
    for path in cases {
        let file = name(&path);
        let errors = config::parse_bytes(&file, &std::fs::read(&path).unwrap()).expect_err(&file);
        for problem in &errors.problems {
            let text = problem.to_string();
            let start = format!("{file}:{}:{}: ", problem.line, problem.column);
            assert!(problem.line > 0 && text.starts_with(&start), "{text}");
            assert!(!problem.fix.is_empty(), "says no way out: {text}");
            assert!(!text.contains('\x1b'), "controls the reader's terminal: {text:?}");
        }
        assert!(errors.problems.iter().any(|problem| problem.severity == Severity::Error), "{file}");
        assert_file(&path.with_extension("txt"), &format!("{errors}\n"));
    }
}

#[test]
fn every_doubtful_file_is_taken_with_the_warnings_of_its_transcript() {
    for path in cases("warned") {
        let loaded = config::parse_bytes(&name(&path), &std::fs::read(&path).unwrap());
        let warnings = loaded.unwrap_or_else(|errors| panic!("{errors}")).warnings;
        assert!(!warnings.is_empty());
        assert_file(&path.with_extension("txt"), &config::to_text(&warnings));
    }
}

#[test]
fn every_sound_file_loads_without_a_word() {
    for path in cases("good") {
        let loaded = config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.warnings, [], "{}", config::to_text(&loaded.warnings));
        assert_file(&path.with_extension("txt"), &config::show(&loaded.config));
    }
}

#[test]
fn errors_are_json_too() {
    let errors = config::parse("regions.yml", "regions: {us: {capcity: 5%}}\n").unwrap_err();
    let json: serde_json::Value = serde_json::from_str(&errors.to_json()).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{
            "severity": "error",
            "file": "regions.yml",
            "line": 1,
            "column": 16,
            "length": 7,
            "source": "regions: {us: {capcity: 5%}}",
            "place": "regions.us.capcity",
            "message": "unknown key \"capcity\" in regions.us",
            "fix": "did you mean \"capacity\"?",
            "related": [],
        }])
    );
}
