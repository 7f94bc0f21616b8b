"""The Vagrantfile as Ruby reads it; no virtual machine can be started in a container."""

from __future__ import annotations

import subprocess

from tests.deploy.manifests import ROOT

# Stands in for Vagrant: notes what is configured instead of starting a machine.
RECORDER = """
class Recorder < BasicObject
  def initialize(seen, name); @seen = seen; @name = name; end
  def method_missing(key, *values, **named, &block)
    path = @name + [key.to_s]
    @seen << [path.join('.'), *values, named].inspect
    child = ::Recorder.new(@seen, path)
    block.call(child) if block
    child
  end
end
module Vagrant
  def self.configure(version); seen = []; yield Recorder.new(seen, ['config']); puts seen; end
end
load ARGV[0]
"""


def test_is_ruby_and_its_provisioner_runs_the_tests() -> None:
    command = ["ruby", "-e", RECORDER, str(ROOT / "Vagrantfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any('"config.vm.box=", "debian/bookworm64"' in line for line in lines)
    (provision,) = (line for line in lines if "config.vm.provision" in line)
    assert "make test" in provision
