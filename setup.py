"""Build and packaging. The extension is compiled by cffi from ext/."""

from setuptools import find_packages, setup

setup(
    name="podwitness",
    version="0.1.0",
    description="The witness on every Kubernetes node: container logs, execs and network flows, one identity",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["collector", "collector.*", "probes", "probes.*"]),
    package_data={"probes": ["*.h", "*.c"], "collector": ["*.conf", "py.typed"]},
    cffi_modules=["ext/build_native.py:ffi"],
    # bcc and systemd are not here: they come as Debian packages, with the libraries they are built for.
    install_requires=[
        "cffi>=1.15",
        "msgpack>=1.0.4",
        "msgspec>=0.18",
        "rich>=13.0",
        "PyYAML>=6.0",
        "google-re2>=1.0",
        "psutil>=5.9",
    ],
    extras_require={
        # What only some configurations need; a configuration that does says what to install.
        "zstd": ["zstandard>=0.20"],
        "kafka": ["confluent-kafka>=1.7"],
        "test": [
            "pytest>=8.0",
            "pytest-timeout>=2.2",
            "hypothesis>=6.90",
            "mypy>=1.11",
            "ruff>=0.5",
            "types-PyYAML",
            "kubernetes-validate",
            "grpcio",
            "pyroute2>=0.7",
            "aiohttp>=3.9",
            "prometheus-client>=0.16",
            "zstandard>=0.20",
            "confluent-kafka>=1.7",
            "fluent-logger>=0.10",
            "opentelemetry-proto>=1.20",
        ],
    },
    entry_points={"console_scripts": ["podwitness=collector.cli:main"]},
)
