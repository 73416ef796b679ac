#!powershell

# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Shows what steps need of a Windows host, and carries out what the controller decided: it reads and obeys.
#
# Written for Windows PowerShell 5.1 on .NET Framework 4.6.1 or later, which Windows Server 2016 and later bring along.
# Our tests run this text itself on a modelled Windows, so it keeps to what is modelled there (docs/windows_twin.md).

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ..module_utils.WindowsMaterial
#AnsibleRequires -PowerShell ..module_utils.WindowsServices
#AnsibleRequires -PowerShell ..module_utils.WindowsVariables

$spec = @{
    options = @{
        directory = @{ type = "str"; required = $true }
        files = @{ type = "list"; elements = "str"; default = @() }
        folders = @{ type = "list"; elements = "str"; default = @() }
        orders = @{
            type = "list"
            elements = "dict"
            default = @()
            options = @{
                step = @{ type = "str"; required = $true }
                action = @{
                    type = "str"
                    required = $true
                    choices = @("edit", "erase", "folder", "remove", "restart", "run", "wait", "write")
                }
                arguments = @{ type = "str" }
                content = @{ type = "str"; no_log = $true }
                expected = @{ type = "str" }
                milliseconds = @{ type = "int" }
                path = @{ type = "str" }
                ports = @{
                    type = "list"
                    elements = "dict"
                    default = @()
                    options = @{
                        address = @{ type = "str"; required = $true }
                        insist = @{ type = "bool"; default = $true }
                        open = @{ type = "bool"; required = $true }
                        port = @{ type = "int"; required = $true }
                    }
                }
                rights = @{ type = "str" }
                service = @{ type = "str" }
            }
        }
        services = @{ type = "list"; elements = "str"; default = @() }
    }
    supports_check_mode = $true
}

$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)
$directory = $module.Params.directory

# Read

function Get-Now {
    return (Get-Moment -At ([System.DateTime]::UtcNow))
}

function Get-Snapshot {
    # What a step noted of the files that it edits.
    param([string]$Folder)
    return @{
        after = (Get-Text -Path (Join-Path -Path $Folder -ChildPath "after.json"))
        before = (Get-Text -Path (Join-Path -Path $Folder -ChildPath "before.json"))
        intended = (Get-Text -Path (Join-Path -Path $Folder -ChildPath "intended.json"))
    }
}

function Get-Note {
    param([string]$Base)
    $steps = @{}
    $folder = Join-Path -Path $Base -ChildPath "steps"
    if ([System.IO.Directory]::Exists($folder)) {
        foreach ($each in [System.IO.DirectoryInfo]::new($folder).GetDirectories()) {
            $steps[$each.Name] = Get-Snapshot -Folder $each.FullName
        }
    }
    $current = $null
    $link = Join-Path -Path $Base -ChildPath "current"
    if ([System.IO.Directory]::Exists($link)) {
        $current = [string]@((Get-Item -LiteralPath $link -Force).Target)[0]
    }
    return @{
        current = $current
        exists = [System.IO.Directory]::Exists($Base)
        pending = (Get-Text -Path (Join-Path -Path $Base -ChildPath "pending.json"))
        steps = $steps
    }
}

function Get-State {
    $files = @{}
    foreach ($path in $module.Params.files) {
        $files[$path] = Get-FileContent -Path $path
    }
    $notes = @{}
    foreach ($folder in $module.Params.folders) {
        $notes[$folder] = Get-Note -Base (Join-Path -Path $directory -ChildPath $folder)
    }
    $rights = $null
    $link = $false
    if ([System.IO.Directory]::Exists($directory)) {
        $top = Get-Item -LiteralPath $directory -Force
        $rights = Get-Right -Item $top
        $link = [bool]$top.LinkType
    }
    return @{
        clock = (Get-Now)
        files = $files
        link = $link
        notes = $notes
        rights = $rights
        services = (Get-ServiceRow -Service $module.Params.services)
        user = [System.Security.Principal.WindowsIdentity]::GetCurrent().User.Value
    }
}

# Obey

function Write-File {
    # In one step, from a new file beside it. What is there keeps its rights, and the new one has them from birth.
    param([string]$Path, [string]$Content)
    $data = [System.Convert]::FromBase64String($Content)
    $fresh = $Path + ".connsec-new"
    [System.IO.File]::Delete($fresh)
    $there = [System.IO.File]::Exists($Path)
    if ($there) {
        $security = [System.IO.FileInfo]::new($Path).GetAccessControl("Access")
        $stream = [System.IO.FileStream]::new($fresh, "CreateNew", "Write", "None", 4096, "WriteThrough", $security)
    }
    else {
        $stream = [System.IO.FileStream]::new($fresh, "CreateNew", "Write", "None")
    }
    try {
        $stream.Write($data, 0, $data.Length)
        $stream.Flush($true)
    }
    finally {
        $stream.Dispose()
    }
    if ($there) {
        # $null would become an empty text here, which is no name of a file
        [System.IO.File]::Replace($fresh, $Path, [System.Management.Automation.Language.NullString]::Value)
    }
    else {
        [System.IO.File]::Move($fresh, $Path)
    }
}

function Assert-Unchanged {
    # An empty text stands for no file.
    param([string]$Path, [string]$Expected)
    $found = ""
    if ([System.IO.File]::Exists($Path)) {
        $found = Get-Digest -Path $Path
    }
    if ($found -ne $Expected) {
        throw "$Path was changed since it was read; nothing of it is written, and the next run looks again"
    }
}

function Invoke-Program {
    # To its end; both of its outputs are read meanwhile, for one that is full would hold it.
    param([string]$Path, [string]$Arguments, [int]$Milliseconds)
    $start = [System.Diagnostics.ProcessStartInfo]::new($Path, $Arguments)
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $process = [System.Diagnostics.Process]::Start($start)
    try {
        $output = $process.StandardOutput.ReadToEndAsync()
        $complaint = $process.StandardError.ReadToEndAsync()
        if (-not $process.WaitForExit($Milliseconds)) {
            $process.Kill()
            throw "$Path did not end within $Milliseconds ms"
        }
        if ($process.ExitCode -ne 0) {
            throw "$Path ended with $($process.ExitCode): $($output.Result) $($complaint.Result)"
        }
    }
    finally {
        $process.Dispose()
    }
}

function Test-Port {
    param([string]$Address, [int]$Port)
    $family = "InterNetwork"
    if ($Address.Contains(":")) {
        $family = "InterNetworkV6"
    }
    $client = [System.Net.Sockets.TcpClient]::new($family)
    try {
        return $client.ConnectAsync($Address, $Port).Wait(1000)
    }
    catch {
        return $false
    }
    finally {
        $client.Dispose()
    }
}

function Get-Missing {
    # What is not as it should be, in a sentence; nothing where all is.
    param([string]$Service, [int]$Process, [object[]]$Ports, [bool]$Insisting)
    if ($Process -eq 0) {
        return "no process of $Service runs"
    }
    foreach ($row in $Ports) {
        if ($Insisting -and -not $row.insist) {
            continue
        }
        $open = Test-Port -Address $row.address -Port $row.port
        if ($open -ne $row.open) {
            $how = "not open"
            if ($open) {
                $how = "open still"
            }
            return "port $($row.port) of $($row.address) is $how"
        }
    }
    return $null
}

function Get-ProcessOf {
    param([string]$Service)
    $rows = Get-ServiceRow -Service @($Service)
    return $rows[$Service].process
}

function Wait-Effect {
    # All of it twice, with the same process: it may die of its new configuration a moment later.
    param([string]$Service, [object[]]$Ports, [int]$Milliseconds)
    $until = (Get-Now) + $Milliseconds
    $held = 0
    while ($true) {
        $process = Get-ProcessOf -Service $Service
        $missing = Get-Missing -Service $Service -Process $process -Ports $Ports
        if (-not $missing) {
            if ($held -eq $process) {
                return $process
            }
            $held = $process
        }
        else {
            $held = 0
            if ((Get-Now) -gt $until) {
                $missing = Get-Missing -Service $Service -Process $process -Ports $Ports -Insisting $true
                if (-not $missing) {
                    return $process
                }
                throw "$missing after $Milliseconds ms"
            }
        }
        Start-Sleep -Milliseconds 100
    }
}

function Write-Loaded {
    # The controller knows neither the moment nor the process.
    param([string]$Path, [string]$Content, [int]$Process)
    $text = [System.Text.Encoding]::UTF8.GetString([System.Convert]::FromBase64String($Content))
    $text = $text.Replace("@at@", [string](Get-Now)).Replace("@process@", [string]$Process)
    Write-File -Path $Path -Content ([System.Convert]::ToBase64String([System.Text.Encoding]::UTF8.GetBytes($text)))
}

function Invoke-Order {
    param([System.Collections.IDictionary]$Order)
    if ($Order.path -and $Order.action -ne "edit" -and $Order.action -ne "erase" -and $Order.action -ne "run") {
        Assert-Inside -Path $Order.path -Directory $directory
    }
    switch ($Order.action) {
        "edit" {
            Assert-Unchanged -Path $Order.path -Expected $Order.expected
            Write-File -Path $Order.path -Content $Order.content
        }
        "erase" {
            Assert-Unchanged -Path $Order.path -Expected $Order.expected
            [System.IO.File]::Delete($Order.path)
        }
        "folder" { Add-Folder -Path $Order.path -Rights $Order.rights }
        "remove" { Clear-Path -Path $Order.path }
        "restart" { Restart-Service -Name $Order.service -Force }
        "run" { Invoke-Program -Path $Order.path -Arguments $Order.arguments -Milliseconds $Order.milliseconds }
        "wait" {
            $process = Wait-Effect -Service $Order.service -Ports $Order.ports -Milliseconds $Order.milliseconds
            Write-Loaded -Path $Order.path -Content $Order.content -Process $process
        }
        "write" { Write-File -Path $Order.path -Content $Order.content }
    }
}

$module.Result.failures = @{}
$module.Result.changed = $module.Params.orders.Count -gt 0
if (-not $module.CheckMode) {
    foreach ($order in $module.Params.orders) {
        if ($module.Result.failures.ContainsKey($order.step)) {
            continue
        }
        try {
            Invoke-Order -Order $order
        }
        catch {
            $module.Result.failures[$order.step] = $_.Exception.GetBaseException().Message
        }
    }
}
$module.Result.state = Get-State
$module.ExitJson()
