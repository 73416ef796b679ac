# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Services and processes of a Windows host; private to this collection.

#AnsibleRequires -PowerShell ansible_collections.connsec.tls.plugins.module_utils.WindowsVariables

function Get-Moment {
    # Milliseconds since 1970.
    param([System.DateTime]$At)
    return [System.DateTimeOffset]::new($At).ToUnixTimeMilliseconds()
}

function Get-ServiceRow {
    # Names of services have no case. The service manager has a service's process, and the registry its variables.
    param([string[]]$Service)
    $rows = @{}
    foreach ($each in Get-CimInstance -ClassName "Win32_Service") {
        foreach ($name in $Service) {
            if ($each.Name -eq $name) {
                $rows[$name] = @{
                    account = $each.StartName
                    process = $each.ProcessId
                    state = $each.State
                    variables = (Get-ServiceVariable -Service $name)
                }
            }
        }
    }
    return $rows
}

function Get-ProcessRow {
    foreach ($process in Get-CimInstance -ClassName "Win32_Process") {
        $started = $null
        if ($null -ne $process.CreationDate) {
            $started = Get-Moment -At $process.CreationDate
        }
        @{ id = $process.ProcessId; parent = $process.ParentProcessId; started = $started }
    }
}

Export-ModuleMember -Function "Get-Moment", "Get-ProcessRow", "Get-ServiceRow"
