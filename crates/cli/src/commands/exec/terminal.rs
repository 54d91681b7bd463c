//! The user's terminal while a remote one is attached: raw, and put back however the verb ends.

use std::io::{self, IsTerminal};

use nix::{
    libc::winsize,
    sys::termios::{self, SetArg, Termios},
};

use crate::commands::output;

nix::ioctl_read_bad!(window_size, nix::libc::TIOCGWINSZ, winsize);

/// A terminal in raw mode; dropping it puts the old mode back.
pub(super) struct Terminal {
    before: Termios,
}

impl Terminal {
    /// Whether standard input is a terminal; if not, that is told unless quiet.
    pub(super) fn is_input(quiet: bool) -> bool {
        let is_terminal = io::stdin().is_terminal();
        if !is_terminal && !quiet {
            output::remark("Unable to use a TTY - input is not a terminal or the right kind of file");
        }
        is_terminal
    }

    /// Switches to raw mode; `None` if the terminal refuses.
    pub(super) fn raw() -> Option<Self> {
        let before = termios::tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing can be done for a terminal that is gone.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

/// Columns and rows of the terminal.
#[allow(unsafe_code, reason = "the size of a terminal has no safe call")]
pub(super) fn size() -> Option<(u16, u16)> {
    let mut size = winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: descriptor 0 is open or the call fails; `size` is a valid winsize that the kernel fills.
    unsafe { window_size(0, &raw mut size) }.ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}
