#===- interrupt.py - Interrupt a command in its work --------------------===//
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===//
"""Runs a command that writes into FOLDER and interrupts it as soon as something is there.

usage: interrupt.py FOLDER COMMAND..."""
import os
import signal
import subprocess
import sys
import time

folder, command = sys.argv[1], sys.argv[2:]
for number in signal.SIGINT, signal.SIGTERM:
    # A test may run where the signal is ignored.
    process = subprocess.Popen(command, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    while not os.listdir(folder) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(number)
    assert process.wait(timeout=60) == -number, (number, process.returncode)
    assert os.listdir(folder) == [], os.listdir(folder)
