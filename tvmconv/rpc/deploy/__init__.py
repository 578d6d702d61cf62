"""Brings the server to a device: its bundle, adb and ssh, the tracker, and a device emulated on this machine."""
