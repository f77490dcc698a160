"""Every bound that all simulated gateways share: its unit is in the name, its reason stands above it.

They keep one process with its state in memory from growing without end; each gateway's own bounds are in its folder.
"""

from datetime import timedelta

# --- deliveries ------------------------------------------------------------------------------------------------------

# Longer than any gateway here waits for a receiver.
NOTIFICATION_TIMEOUT_S = 15.0
# Every gateway tries this often again at most, so that a plan can name every interval.
RETRIES_MAX = 5
# Each waiting delivery is one task and one body of about 1 kB. Beyond it a notification is dropped and counted.
DELIVERIES_WAITING_MAX = 50_000
# Open requests to the receiver; enough to keep a fast receiver busy, too few to exhaust file handles.
DELIVERIES_IN_FLIGHT_MAX = 64
NOTIFICATION_LOG_MAX = 2_000
NOTIFICATION_LOG_PAGE_MAX = 500

# --- requests and faults ---------------------------------------------------------------------------------------------

# No control body or form needs more; a larger one is answered 413 before it is read whole.
REQUEST_BODY_BYTES_MAX = 256_000
FORM_FIELDS_MAX = 20
FAULTS_MAX = 50
FAULT_COUNT_MAX = 1_000_000
# Ten minutes is longer than any client's patience, and short enough that a forgotten hang ends.
FAULT_WAIT_S_MAX = 600.0
FAULT_COPIES_MAX = 100
SPEED_UP_MAX = 1_000_000.0
# Ten years ahead reaches every deadline of the gateway, and no date that cannot be written.
CLOCK_AHEAD_MAX = timedelta(days=3_652)
# Expiry is also evaluated on every access; this only bounds how late its notification goes out.
TICK_S = 1.0
# Longer than clients keep an idle connection, so that none is closed under a request that was just sent.
KEEP_ALIVE_S = 75
# Hung answers (a fault) must not keep the process alive after Ctrl-C.
SHUTDOWN_GRACE_S = 2
