"""What a JVM asks the machine: the name of the account, and the encoding of file names.

- A container may run under a user id without a line in /etc/passwd (`docker run --user 12345`,
  OpenShift). Hadoop's login fails there, so it is given a user before it looks for one.
- Under `LC_ALL=C`, as in cron, the JVM takes every file name for ASCII, and so under a locale that
  the machine doesn't have, as in slim containers and by ssh. It is told C.UTF-8, as Python tells
  itself (PEP 540).

Trade-off: the login is set through a method that Hadoop has for its tests; there is no other way
around the operating system's name.
"""

import locale
import os
import pwd
import tempfile
from collections.abc import MutableMapping

from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.java_gateway import launch_gateway

from models.errors import InputError

NAME = "nightrank"
JAVA_OPTIONS = "spark.driver.extraJavaOptions"


def prepare_locale(environment: MutableMapping[str, str]) -> None:
    """Set `LC_ALL` to C.UTF-8 where the environment's locale is C or POSIX, or isn't there."""
    said = (environment.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    name = next((value for value in said if value), "C")
    if name in ("C", "POSIX") or not _is_installed(name):
        environment["LC_ALL"] = "C.UTF-8"


def _is_installed(name: str) -> bool:
    """Return whether the machine has the locale; there is no way to ask but to try."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return True


def has_name(user_id: int) -> bool:
    """Return whether the machine knows a name for the user id."""
    try:
        pwd.getpwuid(user_id)
    except KeyError:
        return False
    return True


def log_in_without_a_name(options: dict[str, str]) -> None:
    """Start the JVM, with Spark's `options` for it, and give Hadoop a user of our own.

    Raises InputError where the JVM doesn't start.
    """
    for variable in ("SPARK_USER", "HADOOP_USER_NAME", "LOGNAME", "USER"):
        os.environ.setdefault(variable, NAME)
    home = f" -Duser.home={tempfile.gettempdir()} -Duser.name={NAME}"  # the JVM would have "?"
    conf = SparkConf(loadDefaults=False)
    conf.setAll(list(options.items()))
    conf.set(JAVA_OPTIONS, options.get(JAVA_OPTIONS, "") + home)
    try:
        gateway = launch_gateway(conf)  # type: ignore[no-untyped-call]
    except PySparkRuntimeError as error:
        raise InputError(
            f"Java can't start under user id {os.getuid()}, which has no line in /etc/passwd: "
            "add one, or run as a user that has a name"
        ) from error
    SparkContext._ensure_initialized(gateway=gateway)  # noqa: SLF001
    user = gateway.jvm.org.apache.hadoop.security.UserGroupInformation
    user.setLoginUser(user.createRemoteUser(os.environ["HADOOP_USER_NAME"]))
