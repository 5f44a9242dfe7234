//! An ext4 file system in a file: made, mounted on a loop device, shut down, unmounted.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How the image is mounted. Ordered is what everybody runs, and takes direct writes. With journaled
/// data ext4 refuses those, and a byte that was not flushed is not on the device at all. Writeback
/// puts a file's length on the device independently of its bytes.
pub(crate) const MODES: [&str; 3] = ["data=ordered", "data=journal", "data=writeback"];

const IMAGE_BYTES: u64 = 1 << 30;

/// Why the tests cannot run on this machine.
pub(crate) fn why_impossible() -> Option<String> {
    if !rustix::process::getuid().is_root() {
        return Some("mounting a file system takes root".to_owned());
    }
    for command in ["mkfs.ext4", "mount", "umount"] {
        let found = Command::new(command).arg("-V").output();
        if found.is_err() {
            return Some(format!("there is no {command}"));
        }
    }
    let image = Image::create();
    match image.try_mount(MODES[0]) {
        Ok(mounted) => {
            drop(mounted);
            None
        }
        // Whoever asks for power cuts by number has to hear that there were none.
        Err(why) if std::env::var_os("ONCELOG_POWER_CUTS").is_some() => panic!("{why}"),
        Err(why) => Some(why),
    }
}

/// The image and where it is mounted; both go with it.
#[derive(Debug)]
pub(crate) struct Image {
    directory: tempfile::TempDir,
}

/// While it lives the image is mounted.
#[derive(Debug)]
pub(crate) struct Mounted {
    at: PathBuf,
}

impl Image {
    pub(crate) fn create() -> Self {
        let image = Self { directory: tempfile::tempdir().unwrap() };
        let file = std::fs::File::create(image.file()).unwrap();
        file.set_len(IMAGE_BYTES).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image.file())).unwrap();
        std::fs::create_dir(image.directory.path().join("mounted")).unwrap();
        image
    }

    pub(crate) fn mount(&self, mode: &str) -> Mounted {
        self.try_mount(mode).unwrap()
    }

    fn try_mount(&self, mode: &str) -> Result<Mounted, String> {
        let at = self.directory.path().join("mounted");
        let options = format!("loop,{mode}");
        run(Command::new("mount").args(["-o", &options]).arg(self.file()).arg(&at))?;
        Ok(Mounted { at })
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("image")
    }
}

impl Mounted {
    /// Where the engine's data goes.
    pub(crate) fn data(&self) -> PathBuf {
        self.at.join("data")
    }

    /// The power goes: the file system stops at once, and its journal is not flushed.
    pub(crate) fn cut(&self) {
        shut_down(&self.at).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The kernel lets go of a killed process's ring and files a little after the process itself,
        // and tells nobody.
        for _ in 0..200 {
            if run(Command::new("umount").arg(&self.at)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        drop(run(Command::new("umount").arg("-l").arg(&self.at)));
        if !std::thread::panicking() {
            panic!("{} stayed busy", self.at.display());
        }
    }
}

/// `FS_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`.
#[expect(unsafe_code, reason = "the ioctl has no safe wrapper")]
fn shut_down(mounted: &Path) -> rustix::io::Result<()> {
    const FS_IOC_SHUTDOWN: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);
    const NO_LOG_FLUSH: u32 = 2;
    let directory = std::fs::File::open(mounted)
        .map_err(|e| rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO))?;
    // SAFETY: the opcode reads one u32 through the pointer it is given, which is what a setter passes.
    let request = unsafe { rustix::ioctl::Setter::<FS_IOC_SHUTDOWN, u32>::new(NO_LOG_FLUSH) };
    // SAFETY: as above; the descriptor is that of a directory and stays open during the call.
    unsafe { rustix::ioctl::ioctl(directory.as_fd(), request) }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{command:?}: {said}"))
}
