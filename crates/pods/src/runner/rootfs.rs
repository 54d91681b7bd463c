//! The container's root: a fresh tmpfs with a few folders of the host, recursively read-only.
//!
//! Shown: `/usr`, `/bin`, `/sbin`, `/lib*`, CA certificates, `ld.so.cache`, `/etc/alternatives`, and this program
//! below `/opt/sluice/bin`. Own: the rest of `/etc`, `/proc`, `/dev`, `/tmp`. Absent: `/home`, `/root`, `/run`,
//! `/var`, `/sys` and with them every socket of the host. Runs as the container's init, in its new mount and PID
//! namespaces; nothing here is seen outside of them.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use super::protocol::{Container, Volume};
use super::step::{self, Failure};

mod device;
mod proc;
mod tree;

/// Where the program itself is found in a container, and the names that it answers to.
pub(crate) const PROGRAMS: &str = "/opt/sluice/bin";

/// Built-in programs that are always there.
const BUILT_IN: [&str; 3] = ["podinfo", "podcli", "nginx"];

/// Stand-ins for tools that the host may lack.
const STAND_INS: [&str; 2] = ["curl", "nslookup"];

/// Folders of the host that are shown; a symbolic link (`/bin` → `usr/bin`) is copied as one.
const SHOWN: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc/alternatives"];

/// Certificates and the linker's cache. Never all of `/etc/ssl` or `/etc/pki`: they hold private keys.
const SHOWN_IN_ETC: [&str; 6] = [
    "etc/ld.so.cache",
    "etc/ssl/certs",
    "etc/ssl/openssl.cnf",
    "etc/ca-certificates",
    "etc/pki/ca-trust",
    "etc/pki/tls/certs",
];

/// Room for what a container writes outside of its volumes. Memory, so not much.
const ROOT_OPTIONS: &str = "mode=755,size=64m";

/// Puts the root together and makes it this process's `/`.
pub(super) fn enter(container: &Container) -> Result<(), Failure> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount_step("make mounts private", None, "/", None, private, None)?;
    let program = Program::find()?;
    let volumes: Vec<_> =
        container.volumes.iter().map(|volume| tree::clone(&volume.source)).collect::<Result<_, _>>()?;
    let staging = container.staging.to_string_lossy();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount_step("mount the root", Some("tmpfs"), &staging, Some("tmpfs"), flags, Some(ROOT_OPTIONS))?;
    step::errno("enter the root", chdir(&*container.staging))?;
    show_host_folders()?;
    step::io("write /etc", write_etc(&container.etc))?;
    show_program(program)?;
    device::populate()?;
    proc::mount()?;
    step::io("make /tmp", make_folder("tmp", 0o1777))?;
    for (volume, source) in container.volumes.iter().zip(&volumes) {
        add_volume(volume, source)?;
    }
    step::errno("pivot_root", pivot_root(".", "."))?;
    step::errno("detach the host's root", umount2(".", MntFlags::MNT_DETACH))?;
    step::errno("enter /", chdir("/"))
}

/// `mount(2)` with the step's name.
fn mount_step(
    step: &str,
    source: Option<&str>,
    target: &str,
    kind: Option<&str>,
    flags: MsFlags,
    options: Option<&str>,
) -> Result<(), Failure> {
    step::errno(format!("{step} ({target})"), mount(source, target, kind, flags, options))
}

fn make_folder(path: &str, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn show_host_folders() -> Result<(), Failure> {
    for name in SHOWN.into_iter().chain(SHOWN_IN_ETC) {
        let source = Path::new("/").join(name);
        let Ok(metadata) = fs::symlink_metadata(&source) else {
            continue;
        };
        if metadata.is_symlink() {
            step::io(format!("link /{name}"), copy_link(&source, name))?;
        } else {
            step::io(format!("make /{name}"), make_mount_point(name, metadata.is_dir()))?;
            tree::attach(&tree::clone(&source)?, name, tree::READ_ONLY)?;
        }
    }
    Ok(())
}

fn copy_link(source: &Path, name: &str) -> io::Result<()> {
    make_parent(name)?;
    symlink(fs::read_link(source)?, name)
}

fn make_mount_point(path: &str, folder: bool) -> io::Result<()> {
    if folder {
        return fs::create_dir_all(path);
    }
    make_parent(path)?;
    fs::File::create(path).map(drop)
}

fn make_parent(path: &str) -> io::Result<()> {
    Path::new(path).parent().map_or(Ok(()), fs::create_dir_all)
}

fn write_etc(files: &[(String, String)]) -> io::Result<()> {
    fs::create_dir_all("etc")?;
    files.iter().try_for_each(|(name, text)| fs::write(Path::new("etc").join(name), text))
}

/// This program, to be seen by the container.
enum Program {
    File(tree::Tree),
    /// Its file was replaced (a new build) or removed; what runs is still there to be read.
    Unlinked(fs::File),
}

impl Program {
    fn find() -> Result<Self, Failure> {
        let running = Path::new("/proc/self/exe");
        let path = step::io("find this program", fs::read_link(running))?;
        // As the kernel marks a file that has no name any more (proc_pid_exe(5)).
        if path.as_os_str().as_encoded_bytes().ends_with(b" (deleted)") {
            return step::io("open this program", fs::File::open(running)).map(Self::Unlinked);
        }
        tree::clone(&path).map(Self::File)
    }

    fn show(self, target: &str) -> Result<(), Failure> {
        match self {
            Self::File(tree) => tree::attach(&tree, target, tree::READ_ONLY),
            Self::Unlinked(file) => {
                // A program with its debugging symbols may be too big for the container's root.
                step::io(
                    "the program file was replaced while the cluster runs; restart it",
                    copy(file, target),
                )
            }
        }
    }
}

fn copy(mut file: fs::File, target: &str) -> io::Result<()> {
    io::copy(&mut file, &mut fs::File::create(target)?)?;
    fs::set_permissions(target, fs::Permissions::from_mode(0o555))
}

fn show_program(program: Program) -> Result<(), Failure> {
    let folder = &PROGRAMS[1..];
    let target = format!("{folder}/sluice");
    step::io("make the program's folder", make_mount_point(&target, false))?;
    program.show(&target)?;
    let missing = STAND_INS.into_iter().filter(|name| !on_host(name));
    for name in BUILT_IN.into_iter().chain(missing) {
        step::io(format!("link {name}"), symlink("sluice", format!("{folder}/{name}")))?;
    }
    Ok(())
}

/// Asked of the new root, in which the host's folders are already.
fn on_host(name: &str) -> bool {
    ["usr/local/bin", "usr/bin", "bin"].iter().any(|folder| Path::new(folder).join(name).exists())
}

/// A target inside of a read-only folder of the host has no mount point there: the failure says so.
fn add_volume(volume: &Volume, source: &tree::Tree) -> Result<(), Failure> {
    let target = volume.target.trim_start_matches('/');
    let safe = Path::new(target).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if target.is_empty() || !safe {
        return Err(Failure::new(format!("mount {:?}", volume.target), io::ErrorKind::InvalidInput.into()));
    }
    let folder = volume.source.is_dir();
    step::io(format!("make mount point {:?}", volume.target), make_mount_point(target, folder))?;
    tree::attach(source, target, if volume.read_only { tree::READ_ONLY } else { tree::WRITABLE })
}
