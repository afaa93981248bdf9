"""Pasting a photo from the clipboard: it goes into the page's file field, as if it had been chosen there."""

import streamlit.components.v2

_SCRIPT = """
export default function () {
  const paste = (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    const field = document.querySelector('.st-key-photos input[type="file"]');
    if (!files.length || !field) return;
    const transfer = new DataTransfer();
    files.forEach((file) => transfer.items.add(file));
    field.files = transfer.files;
    field.dispatchEvent(new Event("change", { bubbles: true }));
    event.preventDefault();
  };
  document.addEventListener("paste", paste);
  return () => document.removeEventListener("paste", paste);
}
"""


def listen_to_paste() -> None:
    """Let Ctrl-V anywhere on the page add a photo to the file field with the key `photos`."""
    streamlit.components.v2.component("fruity_paste", js=_SCRIPT)()
