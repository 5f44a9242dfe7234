//! The tree of names: what every caller sees, and what a power cut may leave.
//!
//! The one idea: a change of a name (made, moved, removed) is one indivisible unit that is durable
//! once its directory was synced, and otherwise survives or not by itself. Names point at node
//! numbers, so a rename that survives its file's creation still finds the file.

use super::content::Content;
use super::crash::Chooser;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

pub(super) type NodeId = u64;

/// A directory and a name in it.
pub(super) type Place = (NodeId, String);

const ROOT: NodeId = 0;

#[derive(Clone, Debug)]
enum Node {
    Dir { visible: BTreeMap<String, NodeId>, durable: BTreeMap<String, NodeId> },
    File(Content),
}

impl Node {
    fn dir() -> Self {
        Self::Dir { visible: BTreeMap::new(), durable: BTreeMap::new() }
    }
}

#[derive(Clone, Debug)]
struct Change {
    kind: Kind,
    node: NodeId,
    /// A sync of its directory failed: no later one makes it durable.
    abandoned: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Made(Place),
    Moved { from: Place, to: Place },
    Removed(Place),
}

impl Change {
    fn dirs(&self) -> [NodeId; 2] {
        match &self.kind {
            Kind::Made((dir, _)) | Kind::Removed((dir, _)) => [*dir, *dir],
            Kind::Moved { from, to } => [from.0, to.0],
        }
    }
}

/// Every directory and file of a disk.
#[derive(Clone, Debug)]
pub(super) struct Names {
    nodes: BTreeMap<NodeId, Node>,
    changes: Vec<Change>,
    next: NodeId,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { nodes: BTreeMap::from([(ROOT, Node::dir())]), changes: Vec::new(), next: ROOT + 1 }
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let mut dir = ROOT;
        for name in components(path)? {
            dir = match self.entries(dir)?.get(&name) {
                Some(&node) => node,
                None => self.make((dir, name), Node::dir())?,
            };
        }
        self.entries(dir).map(|_| ())
    }

    pub(super) fn create_file(&mut self, place: Place) -> io::Result<NodeId> {
        self.make(place, Node::File(Content::default()))
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<(String, bool)>> {
        let entries = self.entries(self.find(path)?)?;
        Ok(entries.iter().map(|(name, node)| (name.clone(), self.is_dir(*node))).collect())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let kind = Kind::Moved { from: self.place(from)?, to: self.place(to)? };
        if let Ok(old) = self.find(to)
            && (self.is_dir(old) || self.is_dir(node))
        {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(kind, node);
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find(path)?;
        if self.is_dir(node) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let place = self.place(path)?;
        self.change(Kind::Removed(place), node);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.find(path)?;
        let entries = self.entries(dir)?.clone();
        if entries.values().any(|node| self.is_dir(*node)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        for (name, node) in entries {
            self.change(Kind::Removed((dir, name)), node);
        }
        let place = self.place(path)?;
        self.change(Kind::Removed(place), dir);
        Ok(())
    }

    /// Makes the changes of a directory durable, and those that a move ties to them.
    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let tied = self.tied(path)?;
        let changes = std::mem::take(&mut self.changes);
        for change in changes {
            if !change.abandoned && tied.contains(&change.dirs()[0]) {
                self.apply(&change, true);
            } else {
                self.changes.push(change);
            }
        }
        Ok(())
    }

    /// A sync of the directory failed: its changes are undecided for good.
    pub(super) fn abandon_dir(&mut self, path: &Path) -> io::Result<()> {
        let tied = self.tied(path)?;
        for change in &mut self.changes {
            change.abandoned |= tied.contains(&change.dirs()[0]);
        }
        Ok(())
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = ROOT;
        for name in components(path)? {
            node = *self.entries(node)?.get(&name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    /// Where `path` is or would be; its directory must exist.
    pub(super) fn place(&self, path: &Path) -> io::Result<Place> {
        let mut names = components(path)?;
        let name = names.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let mut dir = ROOT;
        for name in names {
            dir = *self.entries(dir)?.get(&name).ok_or(io::ErrorKind::NotFound)?;
        }
        self.entries(dir)?;
        Ok((dir, name))
    }

    pub(super) fn file(&self, node: NodeId) -> io::Result<&Content> {
        match self.nodes.get(&node) {
            Some(Node::File(content)) => Ok(content),
            Some(Node::Dir { .. }) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn file_mut(&mut self, node: NodeId) -> io::Result<&mut Content> {
        match self.nodes.get_mut(&node) {
            Some(Node::File(content)) => Ok(content),
            Some(Node::Dir { .. }) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn is_dir(&self, node: NodeId) -> bool {
        matches!(self.nodes.get(&node), Some(Node::Dir { .. }))
    }

    /// Every file's path, in order.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, id)) = open.pop() {
            match self.nodes.get(&id) {
                Some(Node::Dir { visible, .. }) => {
                    open.extend(visible.iter().map(|(name, node)| (path.join(name), *node)));
                }
                Some(Node::File(_)) => found.push(path),
                None => {}
            }
        }
        found.sort();
        found
    }

    /// Bytes of every file that has a name.
    pub(super) fn used_bytes(&self) -> u64 {
        let named = self.reachable(false);
        let len = |node: &NodeId| self.file(*node).map_or(0, |file| file.visible().len() as u64);
        named.iter().map(len).sum()
    }

    /// Names, lengths and sectors whose durable state is undecided.
    pub(super) fn undecided(&self) -> usize {
        let files = self.nodes.values().filter_map(|node| match node {
            Node::File(content) => Some(content.undecided()),
            Node::Dir { .. } => None,
        });
        self.changes.len() + files.sum::<usize>()
    }

    /// The tree after a power cut.
    pub(super) fn crashed(&self, chooser: &mut Chooser) -> Self {
        let mut after = self.clone();
        for change in std::mem::take(&mut after.changes) {
            if chooser.keep() {
                after.apply(&change, true);
            }
        }
        let named = after.reachable(true);
        after.nodes.retain(|id, node| {
            match node {
                Node::Dir { visible, durable } => visible.clone_from(durable),
                // Asked also of files without a name, so that each unit has a fixed number.
                Node::File(content) => *content = content.crashed(chooser),
            }
            named.contains(id)
        });
        after
    }

    fn make(&mut self, place: Place, node: Node) -> io::Result<NodeId> {
        if self.entries(place.0)?.contains_key(&place.1) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        self.change(Kind::Made(place), id);
        Ok(id)
    }

    fn change(&mut self, kind: Kind, node: NodeId) {
        let change = Change { kind, node, abandoned: false };
        self.apply(&change, false);
        self.changes.push(change);
    }

    fn apply(&mut self, change: &Change, durable: bool) {
        match &change.kind {
            Kind::Made(place) => self.link(place, change.node, durable),
            Kind::Removed(place) => self.unlink(place, change.node, durable),
            Kind::Moved { from, to } => {
                self.unlink(from, change.node, durable);
                self.link(to, change.node, durable);
            }
        }
    }

    fn link(&mut self, (dir, name): &Place, node: NodeId, durable: bool) {
        if let Some(entries) = self.side(*dir, durable) {
            entries.insert(name.clone(), node);
        }
    }

    fn unlink(&mut self, (dir, name): &Place, node: NodeId, durable: bool) {
        if let Some(entries) = self.side(*dir, durable)
            && entries.get(name) == Some(&node)
        {
            entries.remove(name);
        }
    }

    fn side(&mut self, dir: NodeId, durable_side: bool) -> Option<&mut BTreeMap<String, NodeId>> {
        match self.nodes.get_mut(&dir) {
            Some(Node::Dir { visible, durable }) => {
                Some(if durable_side { durable } else { visible })
            }
            _ => None,
        }
    }

    fn entries(&self, dir: NodeId) -> io::Result<&BTreeMap<String, NodeId>> {
        match self.nodes.get(&dir) {
            Some(Node::Dir { visible, .. }) => Ok(visible),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The directory at `path` and those that pending moves tie to it: a journal commits both ends.
    fn tied(&self, path: &Path) -> io::Result<BTreeSet<NodeId>> {
        let dir = self.find(path)?;
        self.entries(dir)?;
        let mut tied = BTreeSet::from([dir]);
        loop {
            let before = tied.len();
            for change in &self.changes {
                let dirs = change.dirs();
                if dirs.iter().any(|dir| tied.contains(dir)) {
                    tied.extend(dirs);
                }
            }
            if tied.len() == before {
                return Ok(tied);
            }
        }
    }

    fn reachable(&self, durable_side: bool) -> BTreeSet<NodeId> {
        let mut seen = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            if let Some(Node::Dir { visible, durable }) = self.nodes.get(&id) {
                let entries = if durable_side { durable } else { visible };
                open.extend(entries.values().copied().filter(|node| seen.insert(*node)));
            }
        }
        seen
    }
}

fn components(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                let name = name.to_str().ok_or(io::ErrorKind::InvalidInput)?;
                names.push(name.to_owned());
            }
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
    }
    Ok(names)
}
