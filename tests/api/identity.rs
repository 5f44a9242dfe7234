//! Whose data directory it is: `meta.properties` (D-52).

use oncelog::batch::BatchBuilder;
use oncelog::io::sim::SimDisk;
use oncelog::{Engine, EngineOptions, ErrorKind, LogConfig, LogName};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILE: &str = "/a/meta.properties";

fn options(directories: &[&str]) -> EngineOptions {
    let mut options = EngineOptions::new(directories[0]);
    options.directories = directories.iter().map(PathBuf::from).collect();
    options.background = false;
    options
}

fn open(disk: &SimDisk, options: EngineOptions) -> oncelog::Result<Engine> {
    Engine::open_with(options, disk.io())
}

fn text(disk: &SimDisk, path: &str) -> String {
    String::from_utf8(disk.visible(Path::new(path)).unwrap()).unwrap()
}

/// Writes a `meta.properties` where an engine has been.
fn prepared(content: &str) -> Arc<SimDisk> {
    let disk = SimDisk::new(1);
    open(&disk, options(&["/a"])).unwrap().close().unwrap();
    disk.overwrite(Path::new(FILE), content.as_bytes().to_vec()).unwrap();
    disk
}

#[test]
fn a_new_directory_gets_an_identity_and_keeps_it() {
    let disk = SimDisk::new(1);
    let engine = open(&disk, options(&["/a"])).unwrap();
    let cluster = engine.cluster_id().to_owned();
    assert_eq!((cluster.len(), engine.node_id()), (22, 0));
    let written = text(&disk, FILE);
    assert!(written.contains(&format!("cluster.id={cluster}\n")), "{written}");
    assert!(written.contains("node.id=0\n") && written.contains("version=1\n"), "{written}");
    // As after a kill: it was durable before anything else was.
    drop(engine);
    let disk = disk.crash(&oncelog::io::sim::Crash::LoseAll);
    let engine = open(&disk, options(&["/a"])).unwrap();
    assert_eq!(engine.cluster_id(), cluster);
    assert_eq!(text(&disk, FILE), written);
}

#[test]
fn directories_of_one_engine_share_cluster_and_node_and_not_their_own_id() {
    let disk = SimDisk::new(1);
    let mut first = options(&["/a"]);
    (first.cluster_id, first.node_id) = (Some("c".to_owned()), Some(7));
    open(&disk, first).unwrap().close().unwrap();
    let engine = open(&disk, options(&["/a", "/b"])).unwrap();
    assert_eq!((engine.cluster_id(), engine.node_id()), ("c", 7));
    let id = |path| {
        let text = text(&disk, path);
        text.lines().find(|line| line.starts_with("directory.id=")).unwrap().to_owned()
    };
    assert_ne!(id(FILE), id("/b/meta.properties"));
    engine.close().unwrap();
    // A copy of the first beside it is no second directory.
    let copied = disk.visible(Path::new(FILE)).unwrap();
    disk.overwrite(Path::new("/b/meta.properties"), copied).unwrap();
    let error = open(&disk, options(&["/a", "/b"])).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::WrongDirectory, "{error:?}");
}

#[test]
fn a_directory_of_another_cluster_or_node_is_refused_as_it_is() {
    let disk = prepared("version=1\ncluster.id=theirs\nnode.id=3\n");
    for (cluster, node) in [(Some("ours"), None), (None, Some(4)), (Some("ours"), Some(3))] {
        let mut wrong = options(&["/a"]);
        (wrong.cluster_id, wrong.node_id) = (cluster.map(str::to_owned), node);
        let operations = disk.operations();
        let error = open(&disk, wrong).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::WrongDirectory, "{error:?}");
        assert!(error.to_string().contains("meta.properties"), "{error}");
        // Creating the directory that is there already is all that was tried.
        assert!(disk.operations() <= operations + 1);
    }
    let engine = open(&disk, options(&["/a"])).unwrap();
    assert_eq!((engine.cluster_id(), engine.node_id()), ("theirs", 3));
}

#[test]
fn older_files_are_understood_later_ones_refused_and_broken_ones_reported() {
    let disk = prepared("version=0\nbroker.id=5\n");
    let engine = open(&disk, options(&["/a"])).unwrap();
    assert_eq!(engine.node_id(), 5);
    // It named no cluster: now it does, for good.
    assert!(text(&disk, FILE).contains(&format!("cluster.id={}\n", engine.cluster_id())));
    let kind = |content: &str| {
        let error = open(&prepared(content), options(&["/a"])).unwrap_err();
        error.kind().clone()
    };
    assert_eq!(kind("version=2\nnode.id=5\ncluster.id=c\n"), ErrorKind::NewerFormat);
    assert!(matches!(kind("version=1\nnode.id=x\ncluster.id=c\n"), ErrorKind::Corrupt { .. }));
}

/// An engine on two directories, with a log in each and a transaction over both, that was closed.
fn two_directories() -> Arc<SimDisk> {
    let disk = SimDisk::new(1);
    let engine = open(&disk, options(&["/a", "/b"])).unwrap();
    let log =
        |topic| engine.open_log(&LogName::new(topic, 0).unwrap(), LogConfig::default()).unwrap();
    let logs = [log("t"), log("u")];
    let mut transaction = engine.begin().unwrap();
    for log in &logs {
        let mut batch = BatchBuilder::new();
        batch.append(0, None, Some(b"x"), &[]).unwrap();
        transaction.append(log, batch).unwrap();
    }
    transaction.commit().unwrap().wait().unwrap();
    engine.close().unwrap();
    disk
}

#[test]
fn a_directory_is_not_opened_without_those_it_belongs_to() {
    let disk = two_directories();
    for alone in [["/a"], ["/b"]] {
        let error = open(&disk, options(&alone)).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::WrongDirectory, "{error:?}");
        for word in [alone[0], "directory.id=", "accept_missing_directories"] {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
    // Another disk was not mounted: an empty directory takes its place.
    let error = open(&disk, options(&["/a", "/elsewhere"])).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::WrongDirectory, "{error:?}");
    // None of that was in the way of what is right, in any order.
    for both in [["/a", "/b"], ["/b", "/a"]] {
        let engine = open(&disk, options(&both)).unwrap();
        assert_eq!(engine.logs().unwrap().len(), 2);
        drop(engine.begin().unwrap());
        engine.close().unwrap();
    }
}

#[test]
fn directories_may_be_added_and_given_up_on_demand() {
    let disk = two_directories();
    open(&disk, options(&["/a", "/c", "/b"])).unwrap().close().unwrap();
    let error = open(&disk, options(&["/a", "/b"])).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::WrongDirectory, "{error:?}");
    let mut fewer = options(&["/b"]);
    fewer.accept_missing_directories = true;
    let engine = open(&disk, fewer).unwrap();
    assert_eq!(engine.logs().unwrap().len(), 1);
    drop(engine.begin().unwrap());
    engine.close().unwrap();
    open(&disk, options(&["/b"])).unwrap().close().unwrap();
    // Now both have a log of transactions, and the text says what to do.
    let error = open(&disk, options(&["/a", "/b", "/c"])).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid, "{error:?}");
    for word in ["__oncelog_transactions-0", "/a", "/b", "move"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    // A single directory from the start on knows of no others.
    let disk = prepared("version=1\ncluster.id=c\nnode.id=0\n");
    disk.visible(Path::new("/a/oncelog.directories")).unwrap_err();
}
