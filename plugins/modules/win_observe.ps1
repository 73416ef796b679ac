#!powershell

# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Shows a Windows host: material, files, services, processes, sockets and variables. It changes nothing, and decides nothing.
#
# Written for Windows PowerShell 5.1 on .NET Framework 4.6.1 or later, which Windows Server 2016 and later bring along.
# Our tests run this text itself on a modelled Windows, so it keeps to what is modelled there (docs/windows_twin.md).

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ..module_utils.WindowsMaterial
#AnsibleRequires -PowerShell ..module_utils.WindowsServices
#AnsibleRequires -PowerShell ..module_utils.WindowsVariables

$spec = @{
    options = @{
        accounts = @{ type = "list"; elements = "str"; default = @() }
        directory = @{ type = "str"; required = $true }
        files = @{ type = "list"; elements = "str"; default = @() }
        samples = @{ type = "int"; default = 0 }
        services = @{ type = "list"; elements = "str"; default = @() }
    }
    supports_check_mode = $true
}

$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)
$directory = $module.Params.directory

function Get-Note {
    # What steps leave in an instance's folder, and since when its generation is in effect.
    param([string]$Base)
    $steps = @{}
    $folder = Join-Path -Path $Base -ChildPath "steps"
    if ([System.IO.Directory]::Exists($folder)) {
        foreach ($each in [System.IO.DirectoryInfo]::new($folder).GetDirectories()) {
            $steps[$each.Name] = @{
                before = (Get-Text -Path (Join-Path -Path $each.FullName -ChildPath "before.json"))
                finished = [System.IO.File]::Exists((Join-Path -Path $each.FullName -ChildPath "after.json"))
            }
        }
    }
    $current = Join-Path -Path $Base -ChildPath "current"
    $since = $null
    if ([System.IO.Directory]::Exists($current)) {
        $since = Get-Moment -At (Get-Item -LiteralPath $current -Force).LastWriteTimeUtc
    }
    return @{
        loaded = (Get-Text -Path (Join-Path -Path $Base -ChildPath "loaded.json"))
        pending = (Get-Text -Path (Join-Path -Path $Base -ChildPath "pending.json"))
        since = $since
        steps = $steps
    }
}

function Get-SocketRow {
    foreach ($socket in Get-NetTCPConnection) {
        @{
            local = $socket.LocalAddress
            local_port = $socket.LocalPort
            peer = $socket.RemoteAddress
            peer_port = $socket.RemotePort
            process = $socket.OwningProcess
            state = [string]$socket.State
        }
    }
}

function Get-Sample {
    # What stands is told from what comes and goes by a second look, a quarter of a second later.
    if ($module.Params.samples -gt 0) {
        @{ rows = @(Get-SocketRow) }
    }
    if ($module.Params.samples -gt 1) {
        Start-Sleep -Milliseconds 250
        @{ rows = @(Get-SocketRow) }
    }
}

$state = Get-Material -Directory $directory
$state.user = [System.Security.Principal.WindowsIdentity]::GetCurrent().User.Value
$state.build = [System.Environment]::OSVersion.Version.Build
$state.clock = Get-Moment -At ([System.DateTime]::UtcNow)
$state.sids = @{}
foreach ($account in $module.Params.accounts) {
    $state.sids[$account] = Get-Sid -Account $account
}
$state.notes = @{}
foreach ($folder in $state.instances.Keys) {
    $state.notes[$folder] = Get-Note -Base (Join-Path -Path $directory -ChildPath $folder)
}
$state.files = @{}
foreach ($path in $module.Params.files) {
    $state.files[$path] = Get-FileContent -Path $path
}
$state.variables = Get-MachineVariable
$state.services = Get-ServiceRow -Service $module.Params.services
$state.processes = @(Get-ProcessRow)
$state.samples = @(Get-Sample)
$state.endpoints = @()
if ($module.Params.samples -gt 0) {
    $state.endpoints = @(foreach ($each in Get-NetUDPEndpoint) { @{ port = $each.LocalPort; process = $each.OwningProcess } })
}
$state.addresses = @(foreach ($each in Get-NetIPAddress) { $each.IPAddress })
$module.Result.state = $state
$module.ExitJson()
